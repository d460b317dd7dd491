//! Our statement in a bucket's policy: it denies requests over plain HTTP.
//!
//! Only the statement with our Sid is ours. All others are kept as they are.

use serde_json::{Value, json};

use crate::page::policy::canonical;

/// The Sid of our statement.
const SID: &str = "DeployerDenyPlainHttp";

/// Whether the policy has our statement, unchanged.
pub(super) fn denies_plain_http(policy: &Value, bucket_arn: &str) -> bool {
    let ours = canonical(denial(bucket_arn));
    statements(policy).into_iter().any(|statement| canonical(statement) == ours)
}

/// Returns the policy with our statement, or without it; `None` if nothing is left of it.
pub(super) fn with_denial(there: Option<Value>, bucket_arn: &str, deny: bool) -> Option<Value> {
    let mut policy = there.unwrap_or_else(|| json!({ "Version": "2012-10-17" }));
    let others = statements(&policy).into_iter().filter(|statement| statement["Sid"] != SID);
    let all: Vec<Value> = others.chain(deny.then(|| denial(bucket_arn))).collect();
    let is_empty = all.is_empty();
    policy["Statement"] = all.into();
    (!is_empty).then_some(policy)
}

fn denial(bucket_arn: &str) -> Value {
    json!({
        "Sid": SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, format!("{bucket_arn}/*")],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })
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

    const IMAGES: &str = "arn:aws:s3:::images";

    fn theirs() -> Value {
        json!({ "Sid": "theirs", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::1:root" },
                "Action": "s3:GetObject", "Resource": "arn:aws:s3:::images/*" })
    }

    #[test]
    fn our_statement_is_added_and_removed_and_others_are_kept() {
        let ours = with_denial(None, IMAGES, true).expect("a policy");
        assert!(denies_plain_http(&ours, IMAGES));
        assert!(!denies_plain_http(&ours, "arn:aws:s3:::other"), "it names another bucket");
        assert_eq!(with_denial(Some(ours), IMAGES, false), None, "an empty policy is deleted");

        for statement in [theirs(), json!([theirs()])] {
            let there = json!({ "Version": "2008-10-17", "Id": "mine", "Statement": statement });
            assert!(!denies_plain_http(&there, IMAGES));
            let both = with_denial(Some(there), IMAGES, true).expect("a policy");
            assert!(denies_plain_http(&both, IMAGES));
            assert_eq!(
                (&both["Version"], &both["Id"], &both["Statement"][0]),
                (&json!("2008-10-17"), &json!("mine"), &theirs())
            );
            let left = with_denial(Some(both), IMAGES, false).expect("theirs");
            assert_eq!(left["Statement"], json!([theirs()]));
        }
    }

    #[test]
    fn a_statement_that_was_changed_by_hand_is_replaced() {
        let mut policy = with_denial(None, IMAGES, true).expect("a policy");
        policy["Statement"][0]["Condition"]["Bool"]["aws:SecureTransport"] = "true".into();
        assert!(!denies_plain_http(&policy, IMAGES));
        let mended = with_denial(Some(policy), IMAGES, true).expect("a policy");
        assert!(denies_plain_http(&mended, IMAGES));
        assert_eq!(mended["Statement"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn the_stored_form_of_our_statement_is_no_difference() {
        // S3 returns a principal `*` as it was written, and a list of one as a text.
        let stored = json!({ "Version": "2012-10-17", "Statement": {
            "Sid": SID, "Effect": "Deny", "Principal": "*", "Action": ["s3:*"],
            "Resource": ["arn:aws:s3:::images/*", "arn:aws:s3:::images"],
            "Condition": { "Bool": { "aws:SecureTransport": ["false"] } },
        }});
        assert!(denies_plain_http(&stored, IMAGES));
    }
}
