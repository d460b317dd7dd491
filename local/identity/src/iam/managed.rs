//! AWS managed policies that roles of functions and services commonly have.

use super::state::ManagedPolicy;

/// The path and name after `arn:aws:iam::aws:policy/`, and the actions that the policy allows on all resources.
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

/// The creation date of all AWS managed policies here.
pub(super) const SINCE: &str = "2015-02-06T18:40:58Z";

const PREFIX: &str = "arn:aws:iam::aws:policy/";

/// The AWS managed policy with this ARN, if it is known here.
pub(super) fn policy(arn: &str) -> Option<ManagedPolicy> {
    let name = arn.strip_prefix(PREFIX)?;
    POLICIES.iter().find(|(known, _)| *known == name).map(build)
}

/// All AWS managed policies that are known here.
pub(super) fn all() -> impl Iterator<Item = ManagedPolicy> {
    POLICIES.iter().map(build)
}

fn build((whole_name, actions): &(&str, &[&str])) -> ManagedPolicy {
    let statement = serde_json::json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
    let (path, name) = match whole_name.rsplit_once('/') {
        Some((path, name)) => (format!("/{path}/"), name),
        None => ("/".to_owned(), *whole_name),
    };
    let letters: String = name.to_ascii_uppercase().chars().filter(char::is_ascii_alphanumeric).take(17).collect();
    ManagedPolicy {
        policy_name: name.to_owned(),
        policy_id: format!("ANPA{letters:0>17}"),
        arn: format!("{PREFIX}{whole_name}"),
        path,
        description: String::new(),
        create_date: SINCE.to_owned(),
        document: serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string(),
        tags: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::Policy;

    #[test]
    fn each_is_a_policy_that_iam_accepts() {
        for known in all() {
            assert!(Policy::parse(&known.document).is_ok(), "{}", known.arn);
            assert_eq!(policy(&known.arn).map(|found| found.policy_id), Some(known.policy_id));
        }
        assert!(policy("arn:aws:iam::000000000000:policy/AdministratorAccess").is_none());
        assert!(policy("arn:aws:iam::aws:policy/PowerUserAccess").is_none());
    }
}
