//! A DNS server on the loopback interface, over UDP and TCP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::Query;
use crate::route53::Route53;
use kit::store;

/// The maximum size of a message over TCP, and how long a client may pause.
const LONGEST: usize = u16::MAX as usize;
const PATIENCE: Duration = Duration::from_secs(5);
/// How many free ports to try until one is free for both protocols.
const ATTEMPTS: usize = 20;

/// A server that listens but does not answer yet.
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Server {
    /// Listens on the port of the last time, which is in a file below `dir`, or on any free one.
    ///
    /// Errors: no port is free for both UDP and TCP.
    pub async fn bind(dir: &Path) -> io::Result<Server> {
        let file = dir.join("dns.json");
        let before: u16 = store::read_json(&file).ok().flatten().unwrap_or(0);
        let mut bound = Server::on(before).await;
        for _ in 0..ATTEMPTS {
            if bound.is_ok() {
                break;
            }
            bound = Server::on(0).await;
        }
        let server = bound?;
        let port = server.address()?.port();
        if port != before {
            store::write_json(&file, &port)?;
        }
        Ok(server)
    }

    async fn on(port: u16) -> io::Result<Server> {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let tcp = TcpListener::bind(udp.local_addr()?).await?;
        Ok(Server { udp, tcp })
    }

    /// Returns its address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Answers until `stop` is cancelled.
    pub async fn run(self, zones: Arc<Route53>, stop: CancellationToken) {
        let connections = TaskTracker::new();
        let mut bytes = vec![0; LONGEST];
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                received = self.udp.recv_from(&mut bytes) => {
                    let Ok((length, peer)) = received else { continue };
                    if let Some(response) = respond(&zones, &bytes[..length], Query::most) {
                        let _ = self.udp.send_to(&response, peer).await;
                    }
                }
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (zones, stop) = (zones.clone(), stop.clone());
                        connections.spawn(async move { stop.run_until_cancelled(converse(stream, &zones)).await });
                    }
                    // Most likely there are no file descriptors left.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
        connections.close();
        connections.wait().await;
    }
}

/// Answers the queries of a connection, each preceded by its length.
async fn converse(mut stream: TcpStream, zones: &Route53) -> Option<()> {
    loop {
        let length = timeout(PATIENCE, stream.read_u16()).await.ok()?.ok()?;
        let mut bytes = vec![0; usize::from(length)];
        timeout(PATIENCE, stream.read_exact(&mut bytes)).await.ok()?.ok()?;
        let response = respond(zones, &bytes, |_| LONGEST)?;
        stream.write_u16(u16::try_from(response.len()).ok()?).await.ok()?;
        stream.write_all(&response).await.ok()?;
    }
}

fn respond(zones: &Route53, bytes: &[u8], most: impl Fn(&Query) -> usize) -> Option<Vec<u8>> {
    let query = Query::parse(bytes)?;
    // A name without records of this type still exists, whatever the type is.
    let answer = query.is_plain().then(|| zones.ask(&query.name, query.kind().unwrap_or("OTHER")));
    Some(query.response(answer.as_ref(), most(&query)))
}
