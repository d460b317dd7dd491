//! Our statements in a bucket's policy: one denies requests over plain HTTP, one lets load balancers write their access
//! logs.
//!
//! Only the statements with our Sids are ours. All others are kept as they are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::page::policy::canonical;

/// The Sids of our statements.
const DENIAL: &str = "DeployerDenyPlainHttp";
const LOG_DELIVERY: &str = "DeployerAllowAccessLogs";

/// The service that writes the access logs of load balancers (docs/aws.md §9.9).
const DELIVERER: &str = "logdelivery.elasticloadbalancing.amazonaws.com";

/// Our statements in a bucket policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ours {
    /// Whether requests over plain HTTP are denied.
    pub plain_http_denied: bool,
    /// The prefixes below which load balancers of the account may write access logs.
    pub access_logs: BTreeSet<String>,
}

/// The bucket of a policy, and the account whose load balancers may write to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PolicyBucket<'a> {
    pub bucket_arn: &'a str,
    pub account: &'a str,
}

/// Reads our statements. One that was changed does not count.
pub(super) fn read(policy: &Value, bucket: PolicyBucket<'_>) -> Ours {
    let is_there = |wanted: Value| {
        let wanted = canonical(wanted);
        statements(policy).into_iter().any(|statement| canonical(statement) == wanted)
    };
    let prefixes = prefixes(policy, bucket);
    let is_whole = !prefixes.is_empty() && is_there(log_delivery(bucket, &prefixes));
    Ours {
        plain_http_denied: is_there(denial(bucket.bucket_arn)),
        access_logs: match named(policy, LOG_DELIVERY) {
            None => BTreeSet::new(),
            Some(_) if is_whole => prefixes,
            Some(_) => [CHANGED.to_owned()].into(),
        },
    }
}

/// Stands for the prefixes of a statement that was changed: no prefix is like this.
const CHANGED: &str = "(changed)";

/// Returns the policy with our statements, each where it is wanted; `None` if nothing is left of it.
pub(super) fn with_ours(there: Option<Value>, bucket: PolicyBucket<'_>, want: &Ours) -> Option<Value> {
    let mut policy = there.unwrap_or_else(|| json!({ "Version": "2012-10-17" }));
    let is_ours = |statement: &Value| [DENIAL, LOG_DELIVERY].iter().any(|sid| statement["Sid"] == *sid);
    let others = statements(&policy).into_iter().filter(|statement| !is_ours(statement));
    let denial = want.plain_http_denied.then(|| denial(bucket.bucket_arn));
    let delivery = (!want.access_logs.is_empty()).then(|| log_delivery(bucket, &want.access_logs));
    let all: Vec<Value> = others.chain(denial).chain(delivery).collect();
    let is_empty = all.is_empty();
    policy["Statement"] = all.into();
    (!is_empty).then_some(policy)
}

fn denial(bucket_arn: &str) -> Value {
    json!({
        "Sid": DENIAL,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, format!("{bucket_arn}/*")],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })
}

/// The account is part of the path, so that load balancers of other accounts cannot write there.
fn log_delivery(bucket: PolicyBucket<'_>, prefixes: &BTreeSet<String>) -> Value {
    let within = prefixes.iter().map(|prefix| format!("{}/{prefix}{}", bucket.bucket_arn, end(bucket.account)));
    json!({
        "Sid": LOG_DELIVERY,
        "Effect": "Allow",
        "Principal": { "Service": DELIVERER },
        "Action": "s3:PutObject",
        "Resource": within.collect::<Vec<_>>(),
    })
}

/// The suffix that Elastic Load Balancing adds to a prefix.
fn end(account: &str) -> String {
    format!("/AWSLogs/{account}/*")
}

/// The prefixes in our statement about access logs.
fn prefixes(policy: &Value, bucket: PolicyBucket<'_>) -> BTreeSet<String> {
    let Some(statement) = named(policy, LOG_DELIVERY) else { return BTreeSet::new() };
    let (start, end) = (format!("{}/", bucket.bucket_arn), end(bucket.account));
    let prefix = |resource: &Value| {
        let within = resource.as_str()?.strip_prefix(&start)?;
        within.strip_suffix(&end).map(str::to_owned)
    };
    match &statement["Resource"] {
        Value::Array(several) => several.iter().filter_map(prefix).collect(),
        one => prefix(one).into_iter().collect(),
    }
}

fn named(policy: &Value, sid: &str) -> Option<Value> {
    statements(policy).into_iter().find(|statement| statement["Sid"] == sid)
}

/// A single statement may lack the brackets.
fn statements(policy: &Value) -> Vec<Value> {
    match &policy["Statement"] {
        Value::Array(several) => several.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: PolicyBucket<'_> = PolicyBucket { bucket_arn: "arn:aws:s3:::images", account: "000000000000" };

    fn theirs() -> Value {
        json!({ "Sid": "theirs", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::1:root" },
                "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*" })
    }

    fn both() -> Ours {
        Ours { plain_http_denied: true, access_logs: ["access-logs/api".into(), "access-logs/web".into()].into() }
    }

    #[test]
    fn our_statements_are_added_and_removed_and_others_are_kept() {
        let ours = with_ours(None, IMAGES, &both()).expect("a policy");
        assert_eq!(read(&ours, IMAGES), both());
        let other = PolicyBucket { bucket_arn: "arn:aws:s3:::other", ..IMAGES };
        assert!(!read(&ours, other).plain_http_denied, "it names another bucket");
        assert_eq!(with_ours(Some(ours), IMAGES, &Ours::default()), None, "an empty policy is deleted");

        for statement in [theirs(), json!([theirs()])] {
            let there = json!({ "Version": "2008-10-17", "Id": "mine", "Statement": statement });
            assert_eq!(read(&there, IMAGES), Ours::default());
            let all = with_ours(Some(there), IMAGES, &both()).expect("a policy");
            assert_eq!(read(&all, IMAGES), both());
            assert_eq!(
                (&all["Version"], &all["Id"], &all["Statement"][0]),
                (&json!("2008-10-17"), &json!("mine"), &theirs())
            );
            let left = with_ours(Some(all), IMAGES, &Ours::default()).expect("theirs");
            assert_eq!(left["Statement"], json!([theirs()]));
        }
    }

    #[test]
    fn statements_that_were_changed_by_hand_are_replaced() {
        let mut policy = with_ours(None, IMAGES, &both()).expect("a policy");
        policy["Statement"][0]["Condition"]["Bool"]["aws:SecureTransport"] = "true".into();
        policy["Statement"][1]["Principal"] = "*".into();
        let changed = read(&policy, IMAGES);
        assert!(!changed.plain_http_denied && changed.access_logs == [CHANGED.to_owned()].into());
        let mended = with_ours(Some(policy), IMAGES, &both()).expect("a policy");
        assert_eq!(read(&mended, IMAGES), both());
        assert_eq!(mended["Statement"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn the_stored_form_of_our_statements_is_no_difference() {
        // S3 returns a principal `*` as it was written, and a list of one as a text.
        let stored = json!({ "Version": "2012-10-17", "Statement": [{
            "Sid": DENIAL, "Effect": "Deny", "Principal": "*", "Action": ["s3:*"],
            "Resource": ["arn:aws:s3:::images/*", "arn:aws:s3:::images"],
            "Condition": { "Bool": { "aws:SecureTransport": ["false"] } },
        }, {
            "Sid": LOG_DELIVERY, "Effect": "Allow", "Principal": { "Service": [DELIVERER] }, "Action": ["s3:PutObject"],
            "Resource": "arn:aws:s3:::images/access-logs/web/AWSLogs/000000000000/*",
        }]});
        let web = Ours { plain_http_denied: true, access_logs: ["access-logs/web".into()].into() };
        assert_eq!(read(&stored, IMAGES), web);
    }
}
