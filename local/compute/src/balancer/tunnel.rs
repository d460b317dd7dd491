//! Upgraded connections, such as WebSockets: bytes are relayed unchanged.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::FAREWELL;

/// Relays bytes in both directions until one side closes or neither has sent anything for `patience`.
pub async fn carry(client: Upgraded, target: Upgraded, patience: Duration, stop: CancellationToken) {
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_target, mut to_target) = tokio::io::split(TokioIo::new(target));
    let seen = Mutex::new(Instant::now());
    let idle = async {
        loop {
            let end = *seen.lock() + patience;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    };
    tokio::select! {
        _ = copy(&mut from_client, &mut to_target, &seen) => (),
        _ = copy(&mut from_target, &mut to_client, &seen) => (),
        () = idle => (),
        () = stop.cancelled() => (),
    }
    drop(timeout(FAREWELL, futures::future::join(to_client.shutdown(), to_target.shutdown())).await);
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    seen: &Mutex<Instant>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        *seen.lock() = Instant::now();
        match read {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read]).await?,
        }
    }
}
