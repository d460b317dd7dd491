//! S3: buckets, objects and their versions, on disk, with CORS and event notifications.

mod blobs;
mod blocked_names;
mod body;
mod bucket;
mod checksum;
mod cors;
mod encryption;
mod events;
pub mod form;
mod lifecycle;
mod listing;
mod lock;
mod metadata;
mod multipart;
mod needs;
mod notification;
mod object;
mod operation;
mod policy;
mod precondition;
mod propagation;
mod removal;
mod request;
mod settings;
mod spool;
mod store;
mod strangers;
mod tags;
mod xml;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use blocked_names::BlockedNames;
use chaos::Faults;
use functions::lambda::{CodeObjects, Lambda};
use identity::iam::Iam;
use identity::permissions::{Caller, Need};
use kit::answer::{Protocol, Refusal, Response, empty, not_implemented};
use kit::call::Request;
pub use kit::s3_address::{bucket_arn, copied, is_named_by_host, object_arn, target};
pub use needs::object_need;
pub use object::TOO_LARGE;
pub use operation::{identify, rows};
use propagation::Propagation;
use request::S3Request;
pub use spool::{Incoming, Spool};
use store::Store;
pub use strangers::{Strangers, moved};

/// The largest object from which a function or instance can be created, far above the limits of AWS.
pub const IN_MEMORY: u64 = 1 << 30;
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The buckets of a region.
///
/// Guarantees: a change that was acknowledged has been handed to the operating system, so killing the server does not
/// lose it; only a power failure may. A change that could not be written is answered with 500 and has not happened.
/// Corrupt bytes are never served.
pub struct S3 {
    store: Store,
    region: String,
    lambda: Arc<Lambda>,
    iam: Arc<Iam>,
    faults: Arc<Faults>,
    /// The buckets of other accounts.
    strangers: Arc<Strangers>,
    blocked_names: BlockedNames,
    propagation: Propagation,
}

impl S3 {
    /// Opens the store below `dir`, with the data of an earlier server.
    pub fn open(
        dir: &Path,
        region: &str,
        lambda: Arc<Lambda>,
        iam: Arc<Iam>,
        faults: Arc<Faults>,
        strangers: Arc<Strangers>,
    ) -> anyhow::Result<S3> {
        let speed = lambda.speed();
        let store = Store::open(dir)?;
        iam.resource_policies(region).buckets.replace(store.read(policy::of));
        Ok(S3 {
            store,
            region: region.to_owned(),
            lambda,
            iam,
            faults,
            strangers,
            blocked_names: BlockedNames::at(speed),
            propagation: Propagation::at(speed),
        })
    }

    /// Answers a request from an authenticated caller; `operation` is what the request calls.
    pub async fn answer(&self, operation: &str, request: &Request, caller: &Caller) -> Response {
        let mut answer = match self.act(operation, request, caller).await {
            Ok(answer) => answer,
            Err(refusal) => refused(&refusal, request),
        };
        if is_missing(operation, &answer)
            && let (Some(bucket), Some(_)) = target(request)
            && let Err(denial) = caller.may(&Need::new("s3:ListBucket", bucket_arn(&bucket)))
            && self.store.read(|state| state.buckets.contains_key(&bucket))
        {
            // A caller that may not list a bucket must not learn which objects are missing in it.
            let refusal = Refusal::new(403, "AccessDenied", denial.text());
            answer = refused(&refusal, request);
            denial.mark(&mut answer);
        }
        self.let_page_read(request, &mut answer);
        answer
    }

    /// An error response that a page of an allowed origin can read.
    pub fn refuse(&self, refusal: &Refusal, request: &Request) -> Response {
        let mut answer = refused(refusal, request);
        self.let_page_read(request, &mut answer);
        answer
    }

    /// Refuses the name of a bucket that was just deleted.
    pub fn refuse_blocked(&self, bucket: &str) -> Result<(), Refusal> {
        self.blocked_names.refuse(bucket)
    }

    async fn act(&self, operation: &str, request: &Request, caller: &Caller) -> Result<Response, Refusal> {
        let (bucket, key) = target(request);
        if let Some(bucket) = &bucket
            && let Some(answer) = self.strangers.refuse(bucket, operation, request, &self.region)
        {
            return Ok(answer);
        }
        if operation == "Preflight" {
            return Ok(cors::preflight(request, &self.cors_rules(bucket.as_deref().unwrap_or_default())));
        }
        let Some(row) = operation::named(operation) else {
            let text = "The specified method is not allowed against this resource.";
            return Err(Refusal::new(405, "MethodNotAllowed", text));
        };
        let Some(answered) = &row.answered else {
            return Ok(not_implemented(Protocol::RestXml, "s3", operation));
        };
        if percent_decode_str(&request.path).decode_utf8().is_err() {
            return Err(Refusal::new(400, "InvalidURI", "Couldn't parse the specified URI."));
        }
        let request = body::whole(operation, request)?;
        let request = S3Request::of(row, request, (bucket.unwrap_or_default(), key.unwrap_or_default()), caller)?;
        (answered.run)(self, &request).await
    }

    /// Notifies the functions that are configured for an event about an object, at least once each. It neither fails nor
    /// waits: the change that the event is about has been made, whether or not its caller is still there.
    fn announce(&self, event: &str, bucket: &str, key: &str, facts: &Value) {
        let configured = self.store.read(|state| state.buckets.get(bucket).map(|found| found.settings.notifications()));
        let in_force = self.propagation.in_force(bucket, configured.unwrap_or_default());
        for notification in in_force.iter().filter(|one| one.wants(event, key)) {
            let document = events::document(event, &notification.id, bucket, key, facts, &self.region);
            let source = bucket_arn(bucket);
            let delays = self.faults.deliveries(bucket, key);
            self.lambda.send_event(&notification.function, "s3.amazonaws.com", &source, &document, &delays);
        }
    }

    fn let_page_read(&self, request: &Request, answer: &mut Response) {
        if let (Some(bucket), true) = (target(request).0, request.headers.contains_key("origin")) {
            cors::allow(request, &self.cors_rules(&bucket), answer);
        }
    }

    fn cors_rules(&self, bucket: &str) -> Vec<cors::CorsRule> {
        self.store.read(|state| state.buckets.get(bucket).map(|found| cors::of(&found.settings))).unwrap_or_default()
    }
}

/// Whether a response says that an object does not exist.
fn is_missing(operation: &str, answer: &Response) -> bool {
    answer.status() == 404
        && matches!(operation, "GetObject" | "HeadObject" | "GetObjectAttributes" | "GetObjectTagging" | "CopyObject")
}

/// `ListBuckets` across these regions.
pub fn list_buckets(request: &Request, caller: &Caller, regions: &[&S3]) -> Response {
    let row = operation::named("ListBuckets").expect("it is served");
    let listed = S3Request::of(row, request.clone(), Default::default(), caller);
    listed.and_then(|request| listing::buckets(&request, regions)).unwrap_or_else(|refusal| refused(&refusal, request))
}

#[async_trait]
impl CodeObjects for S3 {
    async fn code(&self, bucket: &str, key: &str) -> Result<Bytes, Refusal> {
        self.object(bucket, key, IN_MEMORY).await
    }

    fn has_bucket(&self, bucket: &str) -> bool {
        self.exists(bucket)
    }

    fn needs_to_write(&self, bucket: &str) -> Vec<Need> {
        S3::needs_to_write(self, bucket)
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), Refusal> {
        self.put_for(&Caller::owner(String::new(), ""), bucket, key, bytes).await
    }
}

/// An error response in S3's format. A response to `HEAD` has no body.
fn refused(refusal: &Refusal, request: &Request) -> Response {
    if request.method == Method::HEAD {
        return empty(refusal.status);
    }
    let mut answer = refusal.answer(Protocol::RestXml);
    let resource = format!("{}</Error>", xml::element("Resource", &request.path));
    let body = String::from_utf8_lossy(answer.body()).replace("</Error>", &resource);
    // The same id is in the headers, for error reports.
    let id = body.split_once("<RequestId>").and_then(|(_, rest)| rest.split_once('<'));
    metadata::set(answer.headers_mut(), "x-amz-request-id", id.map_or("", |(id, _)| id));
    *answer.body_mut() = Bytes::from(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

#[cfg(test)]
fn bare(method: Method) -> Request {
    let (path, query) = ("/".to_owned(), String::new());
    Request { method, path, query, headers: http::HeaderMap::new(), body: Bytes::new(), upload: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_the_path_or_by_the_host() {
        let named = |host: &str, path: &str| {
            let mut request = Request { path: path.to_owned(), ..bare(Method::GET) };
            request.headers.insert("host", host.parse().unwrap());
            target(&request)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(named("127.0.0.1:4566", "/b/a%2Fb/c"), (some("b"), some("a/b/c")));
        assert_eq!(named("b.localhost:4566", "/a/b"), (some("b"), some("a/b")));
        assert_eq!(named("localhost", "/b/"), (some("b"), None));
        assert_eq!(named("localhost", "/"), (None, None));
    }
}
