//! The pages that only our local AWS has, about itself.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The page by which it identifies itself, and which names its DNS server.
pub const HEALTH: &str = "/_local/health";
/// The page that names the ports of its listeners.
pub const STATUS: &str = "/_local/status";

/// How long to wait for a page.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The longest page read: another program at the address may send without end.
pub const LONGEST_PAGE: u64 = 64 << 20;

/// A page of the local AWS at this endpoint, `http://HOST:PORT`; `None` if it is another emulator.
pub async fn get(endpoint: &str, path: &str) -> Option<Value> {
    let host = endpoint.strip_prefix("http://")?.trim_end_matches('/');
    let page = timeout(ANSWER_WITHIN, page(host, path)).await.ok()?.ok()?;
    let (_, body) = page.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

async fn page(host: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.take(LONGEST_PAGE).read_to_string(&mut page).await?;
    Ok(page)
}

/// The port of this machine at which a listener of a load balancer answers.
pub fn listener_port(status: &Value, balancer: &str, port: u16) -> Option<u16> {
    let balancers = status["load_balancers"].as_array()?;
    let listeners = balancers.iter().find(|it| it["name"] == balancer)?["listeners"].as_array()?;
    let listener = listeners.iter().find(|it| it["port"] == port)?;
    listener["local_port"].as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_port_of_a_listener_is_that_of_its_load_balancer() {
        let listener = |port: u16, local_port: u16| json!({ "port": port, "local_port": local_port });
        let status = json!({ "load_balancers": [
            { "name": "other", "listeners": [listener(443, 1)] },
            { "name": "web", "listeners": [listener(80, 2), listener(443, 3)] },
        ] });
        assert_eq!(listener_port(&status, "web", 443), Some(3));
        assert_eq!(listener_port(&status, "web", 8443), None);
        assert_eq!(listener_port(&status, "api", 443), None);
        assert_eq!(listener_port(&json!([]), "web", 443), None);
    }
}
