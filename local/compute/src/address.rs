//! Elastic IP addresses in use: the port that stands for one leads to the instance that has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Compute, ec2};

/// Serves an address until it is released.
pub async fn serve(compute: Arc<Compute>, allocation: String, socket: std::net::TcpListener, stop: CancellationToken) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(allocation, "failed to listen: {error}"),
    };
    while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
        match accepted {
            Ok((client, _)) => {
                drop(compute.tasks.spawn(carry(compute.clone(), allocation.clone(), client, stop.clone())));
            }
            // Most likely there are too many open files: wait until others are closed.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Carries the bytes of one connection. Without an instance that listens, the connection is closed at once; on AWS, it
/// would not come about.
async fn carry(compute: Arc<Compute>, allocation: String, mut client: TcpStream, stop: CancellationToken) {
    let Some(port) = compute.read(|state| ec2::leads_to(state, &compute.site, &allocation)) else { return };
    let Ok(mut instance) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    drop(stop.run_until_cancelled(copy_bidirectional(&mut client, &mut instance)).await);
}
