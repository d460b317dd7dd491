//! Access logs of load balancers, in AWS's format (docs/aws.md §9.9).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::Authority;
use http::{StatusCode, Version};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::body::Relay;
use super::headers::length;
use super::{Answer, Broken, CLIENT_GONE, Side};
use crate::Compute;
use crate::elb::{LogPlace, log_place};

/// How often AWS publishes a file, in seconds, and the minimum here.
const PERIOD_S: u64 = 300;
const LEAST: Duration = Duration::from_millis(100);
/// The maximum number of lines that wait for the next file. Further ones are lost: AWS delivers on a best-effort basis.
const MOST_LINES: usize = 100_000;
/// The address of the node in names of files.
const NODE: &str = "127.0.0.1";
/// A value that is not there.
const NONE: &str = "-";

/// The lines that wait for the next file, by the ARN of their load balancer.
#[derive(Default)]
pub struct AccessLogs(Mutex<BTreeMap<String, Vec<String>>>);

impl AccessLogs {
    fn add(&self, balancer: &str, line: String) {
        let mut all = self.all();
        let lines = all.entry(balancer.to_owned()).or_default();
        if lines.len() < MOST_LINES {
            lines.push(line);
        }
    }

    fn take(&self) -> BTreeMap<String, Vec<String>> {
        std::mem::take(&mut *self.all())
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.0.lock()
    }
}

/// Publishes the files until compute stops, and then the last ones.
pub async fn publish(compute: Arc<Compute>) {
    loop {
        let pause = sleep(compute.site.speed.takes(PERIOD_S).max(LEAST));
        let is_over = compute.stop.run_until_cancelled(pause).await.is_none();
        for (balancer, lines) in compute.access_logs.take() {
            publish_one(&compute, &balancer, &lines).await;
        }
        if is_over {
            return;
        }
    }
}

/// Publishes a file, if the load balancer still has a log.
async fn publish_one(compute: &Compute, balancer: &str, lines: &[String]) {
    let place = compute.read(|state| log_place(&state.load_balancers.get(balancer)?.attributes));
    let Some(LogPlace { bucket, prefix }) = place else { return };
    let (account, region, now) = (&compute.site.account, &compute.site.region, now());
    let name = id(balancer).replace('/', ".");
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    let folder = format!("{prefix}AWSLogs/{account}/elasticloadbalancing/{region}/{}", now.format("%Y/%m/%d"));
    let end = now.format("%Y%m%dT%H%MZ");
    let key = format!("{folder}/{account}_elasticloadbalancing_{region}_{name}_{end}_{NODE}_{random}.log.gz");
    let Ok(file) = compressed(lines) else { return };
    if let Err(fault) = compute.deliveries.deliver(LOG_DELIVERY, balancer, &bucket, &key, file).await {
        tracing::warn!(balancer, bucket, %fault, "an access log could not be delivered, and is lost");
    }
}

/// The service that writes access logs.
pub const LOG_DELIVERY: &str = "logdelivery.elasticloadbalancing.amazonaws.com";

fn compressed(lines: &[String]) -> std::io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for line in lines {
        writeln!(gzip, "{line}")?;
    }
    gzip.finish().map(Bytes::from)
}

/// Returns `app/NAME/ID` of a load balancer's ARN.
fn id(balancer: &str) -> &str {
    balancer.split_once("loadbalancer/").map_or(balancer, |(_, id)| id)
}

/// The TLS parameters that the client and the load balancer have negotiated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secured {
    pub cipher: String,
    pub protocol: &'static str,
    /// The server name that the client requested (SNI).
    pub name: Option<String>,
    /// The ARN of the certificate that it was served.
    pub certificate: Option<String>,
}

/// A request, written when it is dropped: when the last byte of its answer has been sent, or the client is gone.
pub struct AccessLogEntry {
    compute: Arc<Compute>,
    balancer: String,
    kind: &'static str,
    client: String,
    secured: Option<Arc<Secured>>,
    connection: u64,
    request: String,
    user_agent: String,
    created: DateTime<Utc>,
    begun: Instant,
    received: usize,
    relay: Option<Relay>,
    trace: String,
    actions: &'static str,
    /// That of the rule, or 0 for the default one.
    priority: u32,
    target: Option<Target>,
    status: u16,
    redirect: String,
    /// From the target's answer until the load balancer began to send it.
    responding: Option<Duration>,
    sent: usize,
}

struct Target {
    at: String,
    group: String,
    sent: Instant,
    answered: Option<(Instant, u16)>,
}

const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

impl AccessLogEntry {
    /// A request that has just been received.
    pub fn of(compute: &Arc<Compute>, balancer: &str, head: &Parts, side: &Side) -> AccessLogEntry {
        let host =
            text(&head.headers, header::HOST).or(head.uri.authority().map(Authority::as_str)).unwrap_or_default();
        let port = if host.contains(':') { String::new() } else { format!(":{}", side.port) };
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let version =
            if head.version == Version::HTTP_2 { "HTTP/2.0".to_owned() } else { format!("{:?}", head.version) };
        let request = format!("{} {}://{host}{port}{path} {version}", head.method, side.scheme);
        AccessLogEntry {
            compute: compute.clone(),
            balancer: balancer.to_owned(),
            kind: if head.version == Version::HTTP_2 { "h2" } else { side.scheme },
            client: side.peer.to_string(),
            secured: side.secured.clone(),
            connection: side.connection,
            user_agent: text(&head.headers, header::USER_AGENT).unwrap_or(NONE).to_owned(),
            created: now(),
            begun: Instant::now(),
            received: request.len() + length(&head.headers),
            request,
            relay: None,
            trace: NONE.to_owned(),
            actions: NONE,
            priority: 0,
            target: None,
            status: CLIENT_GONE,
            redirect: NONE.to_owned(),
            responding: None,
            sent: 0,
        }
    }

    /// Records the actions for the request, with the priority of their rule.
    pub fn acts(&mut self, actions: &'static str, priority: u32, headers: &HeaderMap) {
        self.actions = actions;
        self.priority = priority;
        self.trace = text(headers, TRACE_ID).unwrap_or(NONE).to_owned();
    }

    /// The body that its bytes are counted in.
    pub fn reads(&mut self, relay: &Relay) {
        self.relay = Some(relay.clone());
    }

    /// The target that it is sent to.
    pub fn sent_to(&mut self, at: &Authority, group: &str) {
        let (at, group) = (at.to_string(), group.to_owned());
        self.target = Some(Target { at, group, sent: Instant::now(), answered: None });
    }

    /// The answer of the target.
    pub fn target_answered(&mut self, status: StatusCode) {
        if let Some(target) = &mut self.target {
            target.answered = Some((Instant::now(), status.as_u16()));
        }
    }

    /// Returns the answer, which ends this entry once it has been sent.
    pub fn answered(mut self, answer: Answer) -> Answer {
        self.status = answer.status().as_u16();
        self.sent = length(answer.headers());
        self.responding = self.target.as_ref().and_then(|target| target.answered).map(|(at, _)| at.elapsed());
        if self.actions == "redirect" {
            self.redirect = text(answer.headers(), header::LOCATION).unwrap_or(NONE).to_owned();
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.kind = if self.kind == "https" { "wss" } else { "ws" };
        }
        answer.map(|body| Logged { body, entry: self }.boxed())
    }

    fn line(&self) -> String {
        let seconds =
            |span: Option<Duration>| span.map_or("-1".to_owned(), |span| format!("{:.3}", span.as_secs_f64()));
        let target = self.target.as_ref();
        let answered = target.and_then(|target| target.answered);
        let at = target.map_or(NONE, |target| &target.at);
        let status_of_target = answered.map_or(NONE.to_owned(), |(_, status)| status.to_string());
        let secured = self.secured.as_deref();
        let received = self.received + self.relay.as_ref().map_or(0, Relay::received);
        let priority = if self.actions == NONE { NONE.to_owned() } else { self.priority.to_string() };
        let quoted = |text: &str| format!("\"{}\"", escaped(text));
        let optional = |text: Option<&String>| quoted(text.map_or(NONE, String::as_str));
        [
            self.kind.to_owned(),
            shown(now()),
            id(&self.balancer).to_owned(),
            self.client.clone(),
            at.to_owned(),
            seconds(target.map(|target| target.sent - self.begun)),
            seconds(target.zip(answered).map(|(target, (at, _))| at - target.sent)),
            seconds(self.responding),
            self.status.to_string(),
            status_of_target.clone(),
            received.to_string(),
            self.sent.to_string(),
            quoted(&self.request),
            quoted(&self.user_agent),
            secured.map_or(NONE, |secured| &secured.cipher).to_owned(),
            secured.map_or(NONE, |secured| secured.protocol).to_owned(),
            target.map_or(NONE, |target| &target.group).to_owned(),
            quoted(&self.trace),
            optional(secured.and_then(|secured| secured.name.as_ref())),
            optional(secured.and_then(|secured| secured.certificate.as_ref())),
            priority,
            shown(self.created),
            quoted(self.actions),
            quoted(&self.redirect),
            quoted(NONE),
            quoted(at),
            quoted(&status_of_target),
            quoted(NONE),
            quoted(NONE),
            format!("TID_{:032x}", self.connection),
            quoted(NONE),
            quoted(NONE),
            quoted(NONE),
        ]
        .join(" ")
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let line = self.line();
        self.compute.access_logs.add(&self.balancer, line);
    }
}

fn now() -> DateTime<Utc> {
    let at = OffsetDateTime::now_utc();
    DateTime::from_timestamp(at.unix_timestamp(), at.nanosecond()).unwrap_or(DateTime::UNIX_EPOCH)
}

fn shown(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Escapes what would end a quoted field or the line.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\x{:02X}", u32::from(c)),
        c if c.is_ascii_graphic() || c == ' ' => c.to_string(),
        c => c.to_string().bytes().map(|byte| format!("\\x{byte:02X}")).collect(),
    };
    text.chars().map(escape).collect()
}

/// The body of an answer, whose bytes are counted.
struct Logged {
    body: BoxBody<Bytes, Broken>,
    entry: AccessLogEntry,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.entry.sent += data.len();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_can_end_neither_itself_nor_its_line() {
        assert_eq!(escaped("curl/8.0 (x; y)"), "curl/8.0 (x; y)");
        assert_eq!(escaped("a\"b\\c\nd\u{e9}"), "a\\x22b\\x5Cc\\x0Ad\\xC3\\xA9");
    }

    #[test]
    fn a_load_balancer_is_named_by_the_end_of_its_arn() {
        assert_eq!(id("arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/web/1a2b"), "app/web/1a2b");
    }
}
