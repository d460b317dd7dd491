//! The event that S3 sends to a function about an object, for trying the function out.

use aws_sdk_s3::operation::RequestIdExt as _;
use aws_sdk_s3::operation::{RequestId as _, head_object::HeadObjectOutput};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};

use super::site::Site;

/// Returns the event for an existing object, as if it had just been created (docs/aws.md §7.7).
pub fn created(site: &Site, bucket: &str, key: &str, head: &HeadObjectOutput) -> Value {
    let e_tag = head.e_tag().unwrap_or_default().trim_matches('"');
    let mut object =
        json!({ "key": form_encoded(key), "size": head.content_length().unwrap_or_default(), "eTag": e_tag });
    if let Some(version) = head.version_id() {
        object["versionId"] = version.into();
    }
    object["sequencer"] = sequencer(head.last_modified().map_or(0, |at| at.secs())).into();
    // Only the ETag of an object that was uploaded in parts has a hyphen.
    let name = if e_tag.contains('-') { "ObjectCreated:CompleteMultipartUpload" } else { "ObjectCreated:Put" };
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": site.region,
        "eventTime": now(),
        "eventName": name,
        "userIdentity": { "principalId": format!("AWS:{}", site.account) },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": {
            "x-amz-request-id": head.request_id().unwrap_or_default(),
            "x-amz-id-2": head.extended_request_id().unwrap_or_default(),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "sample",
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": site.account },
                "arn": format!("arn:{}:s3:::{bucket}", site.partition()),
            },
            "object": object,
        },
    }] })
}

/// Encodes a key as S3 does in events: as form data, with its slashes.
fn form_encoded(key: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    encoded.replace("%2F", "/")
}

/// A sequencer, which grows with the time of the object.
fn sequencer(modified_s: i64) -> String {
    format!("{:018X}", modified_s.max(0))
}

fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::DateTime;

    use super::*;

    #[test]
    fn the_event_describes_the_object() {
        let site = Site {
            account: "000000000000".into(),
            region: "eu-west-3".into(),
            caller_arn: "arn:aws:iam::000000000000:root".into(),
            is_emulated: true,
        };
        let head = HeadObjectOutput::builder()
            .content_length(5)
            .e_tag("\"abc\"")
            .last_modified(DateTime::from_secs(1_700_000_000));
        let event = created(&site, "s-images", "Zoé/a b+c.jpg", &head.clone().build());
        let record = &event["Records"][0];
        assert_eq!((&record["awsRegion"], &record["eventName"]), (&json!("eu-west-3"), &json!("ObjectCreated:Put")));
        let object =
            json!({ "key": "Zo%C3%A9/a+b%2Bc.jpg", "size": 5, "eTag": "abc", "sequencer": "00000000006553F100" });
        assert_eq!(record["s3"]["object"], object);
        assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::s-images");
        let event = created(&site, "s-images", "a", &head.e_tag("\"abc-2\"").version_id("v1").build());
        let record = &event["Records"][0];
        assert_eq!(record["eventName"], "ObjectCreated:CompleteMultipartUpload");
        assert_eq!(record["s3"]["object"]["versionId"], "v1");
    }
}
