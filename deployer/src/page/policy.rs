//! Least-privilege policies, derived from `uses`.

use serde_json::{Value, json};

use crate::{cloud::partition, config::Access};

/// The resources that a program uses.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// Buckets, by ARN.
    pub buckets: Vec<(String, Access)>,
    /// Tables, by ARN.
    pub tables: Vec<(String, Access)>,
    /// Whether it uses Rekognition.
    pub rekognition: bool,
    /// Secrets, by patterns for their ARNs.
    pub secrets: Vec<String>,
    /// Parameters, by ARN.
    pub parameters: Vec<String>,
}

/// The pattern for the ARN of a secret, which ends in six characters that AWS chooses (docs/aws.md §23).
pub fn secret_arn(region: &str, account: &str, name: &str) -> String {
    let partition = partition::of(region);
    format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{name}-??????")
}

/// The ARN of a parameter. A slash at the beginning of its name is the one before it.
pub fn parameter_arn(region: &str, account: &str, name: &str) -> String {
    let partition = partition::of(region);
    format!("arn:{partition}:ssm:{region}:{account}:parameter/{}", name.trim_start_matches('/'))
}

/// The permissions of a function: what it uses, recording failed events at their destination, and writing to its own log
/// group. It may not create that group: a late
/// log line would bring a deleted group back (docs/aws.md §7.6).
pub fn function_policy(uses: &Uses, log_group_arn: &str, on_failure: Option<&str>) -> Value {
    document(uses, write_logs(log_group_arn).into_iter().chain(on_failure.into_iter().flat_map(record_failures)))
}

/// The permissions that Lambda needs to send a failed event to a destination (docs/aws.md §7.5).
fn record_failures(arn: &str) -> Vec<Value> {
    let send = |action: &str, resource: String| statement("RecordFailures", &[action], vec![resource]);
    let statements = match arn.split(':').nth(2) {
        Some("sqs") => [send("sqs:SendMessage", arn.to_owned()), None],
        Some("sns") => [send("sns:Publish", arn.to_owned()), None],
        _ => [
            send("s3:PutObject", format!("{arn}/*")),
            statement("FindFailures", &["s3:ListBucket"], vec![arn.to_owned()]),
        ],
    };
    statements.into_iter().flatten().collect()
}

/// The permissions of a service: what it uses, downloading its own program, writing the reports of its instances, and
/// writing to its own log group.
pub fn service_policy(uses: &Uses, programs_arn: &str, reports_arn: &str, log_group_arn: &str) -> Value {
    let own = [
        statement("FetchProgram", &["s3:GetObject"], vec![programs_arn.into()]),
        statement("WriteReports", &["s3:PutObject"], vec![reports_arn.into()]),
        write_logs(log_group_arn),
    ];
    document(uses, own.into_iter().flatten())
}

fn write_logs(log_group_arn: &str) -> Option<Value> {
    statement("WriteLogs", &["logs:CreateLogStream", "logs:PutLogEvents"], vec![format!("{log_group_arn}:*")])
}

/// Normalises a policy, so that equivalent documents compare equal: IAM accepts a single string for a list of one, and
/// the order of its lists of strings has no meaning (docs/aws.md §6.3).
pub fn canonical(document: Value) -> Value {
    match document {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(canonical).collect();
            if items.iter().all(Value::is_string) {
                items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                items.dedup();
            }
            if items.len() == 1 { items.remove(0) } else { Value::Array(items) }
        }
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, canonical(value))).collect(),
        scalar => scalar,
    }
}

fn document(uses: &Uses, own: impl IntoIterator<Item = Value>) -> Value {
    let Uses { buckets, tables, rekognition, secrets, parameters } = uses;
    let objects = |arn: &str| format!("{arn}/*");
    let whole = str::to_owned;
    let used = [
        statement("ReadObjects", &["s3:GetObject"], chosen(buckets, Access::reads, objects)),
        statement("WriteObjects", &["s3:PutObject", "s3:DeleteObject"], chosen(buckets, Access::writes, objects)),
        // Writing includes listing: everything below a prefix is listed before it is deleted.
        statement("ListObjects", &["s3:ListBucket"], chosen(buckets, |_| true, whole)),
        statement("ReadRows", READ_ROWS, chosen(tables, Access::reads, whole)),
        statement("WriteRows", WRITE_ROWS, chosen(tables, Access::writes, whole)),
        // The keys that AWS manages need no permission of their own (docs/aws.md §23).
        statement("ReadSecrets", &["secretsmanager:GetSecretValue"], secrets.clone()),
        statement("ReadParameters", &["ssm:GetParameter"], parameters.clone()),
        // Rekognition has no resource ARNs for images; it reads them with the caller's `s3:GetObject`.
        statement("DetectLabels", &["rekognition:DetectLabels"], rekognition.then(|| "*".into()).into_iter().collect()),
    ];
    let statements: Vec<Value> = own.into_iter().chain(used.into_iter().flatten()).collect();
    canonical(json!({ "Version": "2012-10-17", "Statement": statements }))
}

const READ_ROWS: &[&str] =
    &["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:DescribeTable"];

const WRITE_ROWS: &[&str] = &[
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
];

fn chosen(used: &[(String, Access)], by: fn(Access) -> bool, part: fn(&str) -> String) -> Vec<String> {
    used.iter().filter(|(_, access)| by(*access)).map(|(arn, _)| part(arn)).collect()
}

/// A statement without resources is omitted.
fn statement(sid: &str, actions: &[&str], resources: Vec<String>) -> Option<Value> {
    let statement = json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources });
    (!resources.is_empty()).then_some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const LOGS: &str = "arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler";
    const PROGRAM: &str = "arn:aws:s3:::p-artifacts/services/web/*";
    const REPORTS: &str = "arn:aws:s3:::p-artifacts/boot/web/*";
    const SERVICE_LOGS: &str = "arn:aws:logs:us-east-1:1:log-group:/deployer/p/web";

    fn uses(bucket: Access, table: Access, rekognition: bool) -> Uses {
        Uses {
            buckets: vec![("arn:aws:s3:::p-images".into(), bucket)],
            tables: vec![("arn:aws:dynamodb:us-east-1:1:table/p-posts".into(), table)],
            rekognition,
            ..Uses::default()
        }
    }

    /// One line for each statement: its id, actions and resources.
    fn check(policy: Value, expected: Expect) {
        let statements = match &policy["Statement"] {
            Value::Array(several) => several.clone(),
            one => vec![one.clone()],
        };
        let list = |value: &Value| match value {
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            one => one.as_str().unwrap_or_default().into(),
        };
        let lines = statements
            .iter()
            .map(|it| format!("{}: {} ON {}\n", list(&it["Sid"]), list(&it["Action"]), list(&it["Resource"])));
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn the_labeler_reads_pictures_and_writes_rows() {
        let policy = function_policy(&uses(Access::Read, Access::Write, true), LOGS, None);
        check(
            policy,
            expect![[r#"
            WriteLogs: logs:CreateLogStream logs:PutLogEvents ON arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler:*
            ReadObjects: s3:GetObject ON arn:aws:s3:::p-images/*
            ListObjects: s3:ListBucket ON arn:aws:s3:::p-images
            WriteRows: dynamodb:BatchWriteItem dynamodb:ConditionCheckItem dynamodb:DeleteItem dynamodb:PutItem dynamodb:UpdateItem ON arn:aws:dynamodb:us-east-1:1:table/p-posts
            DetectLabels: rekognition:DetectLabels ON *
        "#]],
        );
    }

    #[test]
    fn the_service_reads_and_writes_and_fetches_its_program() {
        let policy = service_policy(&uses(Access::ReadWrite, Access::ReadWrite, false), PROGRAM, REPORTS, SERVICE_LOGS);
        check(
            policy,
            expect![[r#"
            FetchProgram: s3:GetObject ON arn:aws:s3:::p-artifacts/services/web/*
            WriteReports: s3:PutObject ON arn:aws:s3:::p-artifacts/boot/web/*
            WriteLogs: logs:CreateLogStream logs:PutLogEvents ON arn:aws:logs:us-east-1:1:log-group:/deployer/p/web:*
            ReadObjects: s3:GetObject ON arn:aws:s3:::p-images/*
            WriteObjects: s3:DeleteObject s3:PutObject ON arn:aws:s3:::p-images/*
            ListObjects: s3:ListBucket ON arn:aws:s3:::p-images
            ReadRows: dynamodb:BatchGetItem dynamodb:DescribeTable dynamodb:GetItem dynamodb:Query dynamodb:Scan ON arn:aws:dynamodb:us-east-1:1:table/p-posts
            WriteRows: dynamodb:BatchWriteItem dynamodb:ConditionCheckItem dynamodb:DeleteItem dynamodb:PutItem dynamodb:UpdateItem ON arn:aws:dynamodb:us-east-1:1:table/p-posts
        "#]],
        );
    }

    #[test]
    fn a_program_reads_its_own_secrets_and_parameters_only() {
        let uses = Uses {
            secrets: vec![secret_arn("us-east-1", "1", "app/jwt")],
            parameters: vec![parameter_arn("us-east-1", "1", "/app/db")],
            ..Uses::default()
        };
        check(
            function_policy(&uses, LOGS, None),
            expect![[r#"
            WriteLogs: logs:CreateLogStream logs:PutLogEvents ON arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler:*
            ReadSecrets: secretsmanager:GetSecretValue ON arn:aws:secretsmanager:us-east-1:1:secret:app/jwt-??????
            ReadParameters: ssm:GetParameter ON arn:aws:ssm:us-east-1:1:parameter/app/db
        "#]],
        );
    }

    #[test]
    fn without_uses_a_program_may_only_log() {
        expect![[r#"{"Version":"2012-10-17","Statement":{"Sid":"WriteLogs","Effect":"Allow","Action":["logs:CreateLogStream","logs:PutLogEvents"],"Resource":"arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler:*"}}"#]].assert_eq(&function_policy(&Uses::default(), LOGS, None).to_string());
    }

    #[test]
    fn a_destination_of_failed_events_adds_the_right_to_write_there() {
        let of = |arn: &str| function_policy(&Uses::default(), LOGS, Some(arn));
        check(
            of("arn:aws:s3:::failures"),
            expect![[r#"
            WriteLogs: logs:CreateLogStream logs:PutLogEvents ON arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler:*
            RecordFailures: s3:PutObject ON arn:aws:s3:::failures/*
            FindFailures: s3:ListBucket ON arn:aws:s3:::failures
        "#]],
        );
        for (arn, action) in [("arn:aws:sqs:r:1:q", "sqs:SendMessage"), ("arn:aws:sns:r:1:t", "sns:Publish")] {
            let statements = of(arn)["Statement"].as_array().cloned().unwrap_or_default();
            assert_eq!(
                (statements.len(), &statements[1]["Action"], &statements[1]["Resource"]),
                (2, &json!(action), &json!(arn))
            );
        }
    }

    #[test]
    fn a_list_of_one_is_its_element_and_order_means_nothing() {
        let stored = json!({"Statement": [{"Action": "a:B", "Resource": ["y", "x"]}]});
        let written = json!({"Statement": {"Resource": ["x", "y"], "Action": ["a:B"]}});
        assert_eq!(canonical(stored), canonical(written));
    }
}
