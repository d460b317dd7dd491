//! AWS managed policies that roles of functions and services commonly have.

use winterbaume_iam::views::{ManagedPolicyView, PolicyVersionView};

/// The path and name behind `arn:aws:iam::aws:policy/`, and the actions that it allows on everything.
const POLICIES: &[(&str, &[&str])] = &[
    ("AdministratorAccess", &["*"]),
    ("AmazonDynamoDBFullAccess", &["dynamodb:*"]),
    (
        "AmazonDynamoDBReadOnlyAccess",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:Describe*",
            "dynamodb:GetItem",
            "dynamodb:List*",
            "dynamodb:PartiQLSelect",
            "dynamodb:Query",
            "dynamodb:Scan",
        ],
    ),
    ("AmazonRekognitionFullAccess", &["rekognition:*"]),
    ("AmazonRekognitionReadOnlyAccess", &["rekognition:Detect*", "rekognition:List*", "rekognition:Describe*"]),
    ("AmazonS3FullAccess", &["s3:*", "s3-object-lambda:*"]),
    (
        "AmazonS3ReadOnlyAccess",
        &["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"],
    ),
    ("CloudWatchLogsFullAccess", &["logs:*", "cloudwatch:GenerateQuery"]),
    ("service-role/AWSLambdaBasicExecutionRole", &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]),
];

/// The policy with this ARN, if it is one of these.
pub(super) fn policy(arn: &str) -> Option<ManagedPolicyView> {
    let whole_name = arn.strip_prefix("arn:aws:iam::aws:policy/")?;
    let (_, actions) = POLICIES.iter().find(|(known, _)| *known == whole_name)?;
    let statement = serde_json::json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
    let document = serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    let (path, name) = match whole_name.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name),
        None => ("/".to_owned(), whole_name),
    };
    let version = PolicyVersionView {
        version_id: "v1".to_owned(),
        document: document.clone(),
        is_default_version: true,
        create_date: None,
    };
    Some(ManagedPolicyView {
        policy_name: name.to_owned(),
        policy_id: format!(
            "ANPA{:0>17}",
            name.to_ascii_uppercase().chars().filter(char::is_ascii_alphanumeric).take(17).collect::<String>()
        ),
        arn: arn.to_owned(),
        path,
        default_version_id: "v1".to_owned(),
        description: String::new(),
        create_date: None,
        update_date: None,
        is_attachable: true,
        document,
        versions: vec![version],
        tags: Default::default(),
        attachment_count: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::Policy;

    #[test]
    fn every_managed_policy_is_valid_for_iam() {
        for (name, _) in POLICIES {
            let policy = policy(&format!("arn:aws:iam::aws:policy/{name}")).unwrap();
            assert!(Policy::parse(&policy.document).is_ok(), "{name}");
        }
        assert!(policy("arn:aws:iam::000000000000:policy/AdministratorAccess").is_none());
        assert!(policy("arn:aws:iam::aws:policy/PowerUserAccess").is_none());
    }
}
