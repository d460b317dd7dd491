//! The health of an instance with an elastic IP address: without a load balancer, this machine makes the request of the
//! health check.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::Target;
use crate::{cloud::why::ServiceNames, kinds::elastic_address};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The beginning of an answer: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// Why there is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// No connection, or no answer in time.
    Timeout,
    /// The connection was refused or closed.
    Closed,
    /// The answer is not HTTP.
    Garbled,
}

/// Judges the instance that has an address, as a load balancer would judge a target. Returns nothing while no instance
/// has it.
pub async fn probed(names: &ServiceNames, address: &elastic_address::Output) -> Vec<Target> {
    let Some(instance) = &address.instance else { return Vec::new() };
    let answer = status(&address.public_ip, names.port, &names.path).await;
    vec![judged(instance, answer, &names.matcher)]
}

fn judged(instance: &str, answer: Result<u16, Silence>, matcher: &str) -> Target {
    let unhealthy = |reason: &str, description: String| Target {
        id: instance.into(),
        state: "unhealthy".into(),
        reason: reason.into(),
        description,
    };
    match answer {
        Ok(status) if is_success(matcher, status) => {
            let (reason, description) = Default::default();
            Target { id: instance.into(), state: "healthy".into(), reason, description }
        }
        Ok(status) => {
            unhealthy("Target.ResponseCodeMismatch", format!("Health checks failed with these codes: [{status}]"))
        }
        Err(Silence::Timeout) => unhealthy("Target.Timeout", "Request timed out".into()),
        Err(Silence::Closed | Silence::Garbled) => {
            unhealthy("Target.FailedHealthChecks", "Health checks failed".into())
        }
    }
}

/// Whether a status is one of those in a matcher such as `200` or `200-299,404`.
fn is_success(matcher: &str, status: u16) -> bool {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    matcher.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&status))
    })
}

/// The status with which the service answers. A local address contains its actual port.
async fn status(address: &str, port: u16, path: &str) -> Result<u16, Silence> {
    let place = if address.contains(':') { address.to_owned() } else { format!("{address}:{port}") };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: {}\r\nConnection: close\r\n\r\n",
        concat!("deployer/", env!("CARGO_PKG_VERSION"))
    );
    let exchanged = async {
        let mut stream = TcpStream::connect(&place).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0; STATUS_LINE];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    let head = timeout(ANSWER_WITHIN, exchanged).await.map_err(|_| Silence::Timeout)?;
    let head = head.map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => Silence::Timeout,
        _ => Silence::Closed,
    })?;
    let line = std::str::from_utf8(&head).ok().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok());
    line.ok_or(Silence::Garbled)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_status_is_judged_by_the_matcher() {
        for (matcher, status, expected) in
            [("200", 200, true), ("200", 204, false), ("200-299", 204, true), ("200,404", 404, true), ("", 200, false)]
        {
            assert_eq!(is_success(matcher, status), expected, "{matcher} {status}");
        }
        let reason = |answer| judged("i-1", answer, "200").reason;
        assert_eq!(reason(Ok(404)), "Target.ResponseCodeMismatch");
        assert_eq!(reason(Err(Silence::Timeout)), "Target.Timeout");
        assert_eq!(reason(Err(Silence::Closed)), "Target.FailedHealthChecks");
        assert_eq!((judged("i-1", Ok(200), "200").state.as_str(), reason(Ok(200)).as_str()), ("healthy", ""));
    }

    #[tokio::test]
    async fn the_status_is_that_of_the_answer() {
        for (answer, expected) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Ok(503)),
            ("SSH-2.0-OpenSSH_9.9\r\n", Err(Silence::Garbled)),
            ("", Err(Silence::Closed)),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let place = listener.local_addr().unwrap().to_string();
            let served = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..read]).into_owned()
            };
            let (request, status) = tokio::join!(served, status(&place, 80, "/health"));
            assert_eq!(status, expected, "{answer}");
            assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
        }
    }
}
