//! The event documents that functions receive.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use kit::ACCOUNT;
use kit::answer::request_id;

/// The event of an operation, if it creates an object.
pub(super) fn of(operation: &str) -> Option<&'static str> {
    match operation {
        "PutObject" => Some("ObjectCreated:Put"),
        "PostObject" => Some("ObjectCreated:Post"),
        "CopyObject" => Some("ObjectCreated:Copy"),
        "CompleteMultipartUpload" => Some("ObjectCreated:CompleteMultipartUpload"),
        _ => None,
    }
}

/// The event document for one object, whose `facts` are its attributes besides the key.
pub(super) fn document(
    event: &str,
    configuration: &str,
    bucket: &str,
    key: &str,
    facts: &Value,
    region: &str,
) -> Value {
    let mut object = facts.clone();
    // Consumers decode keys as form data, where a plus is a space.
    object["key"] = form_encoded(key).into();
    object["sequencer"] = sequencer().into();
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": now(),
        "eventName": event,
        "userIdentity": { "principalId": format!("AWS:{ACCOUNT}") },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": { "x-amz-request-id": request_id(), "x-amz-id-2": request_id() },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": ACCOUNT },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": object,
        },
    }] })
}

fn form_encoded(key: &str) -> String {
    // Slashes are not encoded, as in real events.
    let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    encoded.replace("%2F", "/")
}

fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc().format(format).expect("every date of today has these parts")
}

/// A sequencer, which is greater for later events of a key.
fn sequencer() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let millis = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    format!("{millis:012X}{:06X}", COUNT.fetch_add(1, Ordering::Relaxed) & 0xFF_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_what_a_function_reads() {
        let facts = json!({ "size": 5, "eTag": "abc" });
        let event = document("ObjectCreated:Put", "images", "b", "Zoé/a b+c.jpg", &facts, "us-east-1");
        let record = &event["Records"][0];
        assert_eq!(record["s3"]["object"]["key"], "Zo%C3%A9/a+b%2Bc.jpg");
        assert_eq!(record["s3"]["object"]["size"], 5);
        assert_eq!(record["s3"]["object"]["eTag"], "abc");
        assert_eq!(record["s3"]["configurationId"], "images");
        assert_eq!(record["awsRegion"], "us-east-1");
    }

    #[test]
    fn sequencers_grow() {
        let (one, two) = (sequencer(), sequencer());
        assert!(one < two, "{one} {two}");
    }
}
