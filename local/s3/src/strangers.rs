//! Buckets of other accounts: bucket names are global, and on a laptop there is no other account. Tests create them on
//! demand (docs/aws.md §4.1).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use http::{HeaderValue, Method};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

use kit::answer::{Protocol, Refusal, Response, empty, escape, xml};
use kit::call::Request;
use kit::region_names::REGIONS;
use kit::store;

/// The names of buckets of other accounts, each with its region. They survive a restart. The buckets in which Lambda
/// keeps the code of functions always exist, one in each region (docs/aws.md §4.1).
#[derive(Debug)]
pub struct Strangers {
    file: PathBuf,
    buckets: Mutex<BTreeMap<String, String>>,
}

impl Strangers {
    /// Loads the data of an earlier server from a file of `dir`.
    pub fn open(dir: &Path) -> anyhow::Result<Strangers> {
        let file = dir.join("strangers.json");
        let buckets = store::read_json(&file)?.unwrap_or_default();
        Ok(Strangers { file, buckets: Mutex::new(buckets) })
    }

    /// Gives a bucket name to another account.
    ///
    /// Errors: this could not be stored, and has not happened.
    pub fn take(&self, bucket: &str, region: &str) -> io::Result<()> {
        let mut buckets = self.buckets();
        let mut changed = buckets.clone();
        changed.insert(bucket.to_owned(), region.to_owned());
        store::write_json(&self.file, &changed)?;
        *buckets = changed;
        Ok(())
    }

    /// Frees a bucket name of another account. Returns whether another account had it.
    ///
    /// Errors: this could not be stored, and the other account still has the name.
    pub fn leave(&self, bucket: &str) -> io::Result<bool> {
        let mut buckets = self.buckets();
        let mut changed = buckets.clone();
        if changed.remove(bucket).is_none() {
            return Ok(false);
        }
        store::write_json(&self.file, &changed)?;
        *buckets = changed;
        Ok(true)
    }

    /// All buckets of other accounts, for people and tests.
    pub fn show(&self) -> Value {
        json!({ "buckets": *self.buckets() })
    }

    /// The response of a server of `region` to a request on another account's bucket; `None` if no other account has
    /// the name.
    pub(super) fn refuse(&self, bucket: &str, operation: &str, request: &Request, region: &str) -> Option<Response> {
        let theirs = self.region_of(bucket)?;
        let refused = |refusal: Refusal| match request.method {
            Method::HEAD => empty(refusal.status),
            _ => refusal.answer(Protocol::RestXml),
        };
        if operation == "CreateBucket" {
            let text = "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
            return Some(refused(Refusal::new(409, "BucketAlreadyExists", text)));
        }
        Some(match theirs == region {
            true => in_region(refused(Refusal::new(403, "AccessDenied", "Access Denied")), &theirs),
            false => moved(bucket, &theirs, request),
        })
    }

    /// Refuses to read from another account's bucket on behalf of a call that is not about that bucket.
    pub(super) fn refuse_source(&self, bucket: &str) -> Result<(), Refusal> {
        match self.region_of(bucket) {
            Some(_) => Err(Refusal::new(403, "AccessDenied", "Access Denied")),
            None => Ok(()),
        }
    }

    /// The region of another account's bucket.
    fn region_of(&self, bucket: &str) -> Option<String> {
        let of_lambda = || {
            let region = bucket.strip_prefix("awslambda-")?.strip_suffix("-tasks")?;
            REGIONS.contains(&region).then(|| region.to_owned())
        };
        self.buckets().get(bucket).cloned().or_else(of_lambda)
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.buckets.lock()
    }
}

/// The response to a request on a bucket in another region.
pub fn moved(bucket: &str, region: &str, request: &Request) -> Response {
    let answer = match request.method {
        Method::HEAD => empty(301),
        _ => xml(301, redirect(bucket, region)),
    };
    in_region(answer, region)
}

fn in_region(mut answer: Response, region: &str) -> Response {
    if let Ok(region) = HeaderValue::from_str(region) {
        answer.headers_mut().insert("x-amz-bucket-region", region);
    }
    answer
}

fn redirect(bucket: &str, region: &str) -> String {
    format!(
        "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.</Message><Endpoint>s3.{0}.amazonaws.com</Endpoint><Bucket>{1}</Bucket></Error>",
        escape(region),
        escape(bucket)
    )
}
