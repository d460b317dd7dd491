//! Least-privilege policies, derived from `uses`.

use serde_json::{Value, json};

use crate::{
    cloud::partition,
    config::{Access, EncryptionKey},
    engine::{RESOURCE_TAG, Resource as _, STACK_TAG},
    kinds::{elastic_address::ElasticAddress, launch_template::LaunchTemplate},
};

/// The resources that a program uses.
#[derive(Debug, Clone, Default)]
pub struct UsedResources {
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
    /// Keys, by way of the services that encrypt with them.
    pub keys: Vec<KeyUse>,
    /// Whether X-Ray traces it.
    pub tracing: bool,
}

/// The use of a key by way of a service: never of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyUse {
    /// The names of the service, such as `s3.us-east-1.amazonaws.com`.
    services: Vec<String>,
    /// The ARN of the key, or the pattern of all keys.
    arn: String,
    /// The alias that a key must have.
    alias: Option<String>,
    /// The actions.
    actions: Vec<&'static str>,
}

impl KeyUse {
    /// The use of a key. The resource of a permission is a key and never an alias: a condition names the alias
    /// (docs/aws.md §2.7).
    pub fn of(key: &EncryptionKey, region: &str, account: &str, service: &str, actions: &[&'static str]) -> KeyUse {
        let partition = partition::of(region);
        let alias = key.is_alias().then(|| key.to_string());
        let arn = match alias {
            Some(_) => format!("arn:{partition}:kms:{region}:{account}:key/*"),
            None => key.to_string(),
        };
        KeyUse { services: partition::via(service, region), arn, alias, actions: actions.to_vec() }
    }

    fn statement(&self) -> Value {
        let mut condition = json!({ "StringEquals": { "kms:ViaService": self.services } });
        if let Some(alias) = &self.alias {
            condition["ForAnyValue:StringEquals"] = json!({ "kms:ResourceAliases": alias });
        }
        json!({ "Effect": "Allow", "Action": self.actions, "Resource": self.arn, "Condition": condition })
    }
}

/// One statement for each key and service: entries that share a key add up.
fn key_statements(uses: &[KeyUse]) -> Vec<Value> {
    let mut all: Vec<KeyUse> = Vec::new();
    for one in uses {
        let is_same = |it: &&mut KeyUse| (&it.services, &it.arn, &it.alias) == (&one.services, &one.arn, &one.alias);
        match all.iter_mut().find(is_same) {
            Some(same) => same.actions.extend(one.actions.iter().copied()),
            None => all.push(one.clone()),
        }
    }
    let sid = |(index, mut statement): (usize, Value)| {
        statement["Sid"] = json!(format!("UseKey{}", index + 1));
        statement
    };
    all.iter().map(KeyUse::statement).enumerate().map(sid).collect()
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
pub fn function_policy(uses: &UsedResources, log_group_arn: &str, on_failure: Option<&str>) -> Value {
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

/// The permissions of a service: what it uses, downloading its own program, writing the reports of its instances, writing
/// to its own log group, and these statements.
pub fn service_policy(
    uses: &UsedResources,
    programs_arn: &str,
    reports_arn: &str,
    log_group_arn: &str,
    more: Vec<Value>,
) -> Value {
    let own = [
        statement("FetchProgram", &["s3:GetObject"], vec![programs_arn.into()]),
        statement("WriteReports", &["s3:PutObject"], vec![reports_arn.into()]),
        write_logs(log_group_arn),
    ];
    document(uses, own.into_iter().flatten().chain(more))
}

/// The permissions with which an instance takes the elastic IP address of its service: on this address, for instances of
/// the service. Interfaces carry no tags of ours; without the address, nothing can be done to them (docs/aws.md §8.7).
pub fn take_address(partition: &str, region: &str, account: &str, stack: &str, service: &str) -> Vec<Value> {
    let on = |sid: &str, kind: &str, tag: Option<String>| {
        let mut statement = json!({
            "Sid": sid,
            "Effect": "Allow",
            "Action": "ec2:AssociateAddress",
            "Resource": format!("arn:{partition}:ec2:{region}:{account}:{kind}/*"),
        });
        if let Some(tag) = tag {
            let (stack_key, resource_key) =
                (format!("aws:ResourceTag/{STACK_TAG}"), format!("aws:ResourceTag/{RESOURCE_TAG}"));
            statement["Condition"] = json!({ "StringEquals": { stack_key: stack, resource_key: tag } });
        }
        statement
    };
    vec![
        on("TakeAddress", "elastic-ip", Some(ElasticAddress::tag_value(service))),
        on("ForItself", "instance", Some(format!("{}.{service}", LaunchTemplate::KIND))),
        on("ByItsInterface", "network-interface", None),
    ]
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

fn document(uses: &UsedResources, own: impl IntoIterator<Item = Value>) -> Value {
    let UsedResources { buckets, tables, rekognition, secrets, parameters, keys, tracing } = uses;
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
        // X-Ray has no resource ARNs for traces.
        statement("WriteTraces", WRITE_TRACES, tracing.then(|| "*".into()).into_iter().collect()),
    ];
    let used = used.into_iter().flatten().chain(key_statements(keys));
    let statements: Vec<Value> = own.into_iter().chain(used).collect();
    canonical(json!({ "Version": "2012-10-17", "Statement": statements }))
}

const WRITE_TRACES: &[&str] = &["xray:PutTraceSegments", "xray:PutTelemetryRecords"];

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

    fn uses(bucket: Access, table: Access, rekognition: bool) -> UsedResources {
        UsedResources {
            buckets: vec![("arn:aws:s3:::p-images".into(), bucket)],
            tables: vec![("arn:aws:dynamodb:us-east-1:1:table/p-posts".into(), table)],
            rekognition,
            ..UsedResources::default()
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
        let policy = service_policy(
            &uses(Access::ReadWrite, Access::ReadWrite, false),
            PROGRAM,
            REPORTS,
            SERVICE_LOGS,
            Vec::new(),
        );
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
        let uses = UsedResources {
            secrets: vec![secret_arn("us-east-1", "1", "app/jwt")],
            parameters: vec![parameter_arn("us-east-1", "1", "/app/db")],
            ..UsedResources::default()
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
    fn a_key_is_used_by_way_of_its_service_only() {
        let named = |text: &str| text.parse::<EncryptionKey>().expect("a key");
        let key = named("arn:aws:kms:us-east-1:123456789012:key/a");
        let by =
            |service: &str, actions: &[&'static str]| KeyUse::of(&key, "us-east-1", "123456789012", service, actions);
        let keys = vec![
            by("s3", &["kms:Decrypt"]),
            by("dynamodb", &["kms:Decrypt"]),
            by("s3", &["kms:Decrypt", "kms:GenerateDataKey"]),
            KeyUse::of(&named("alias/app"), "cn-north-1", "123456789012", "s3", &["kms:Decrypt"]),
        ];
        let policy = function_policy(&UsedResources { keys, ..UsedResources::default() }, LOGS, None);
        let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
        let via = |service: &str| json!({ "StringEquals": { "kms:ViaService": service } });
        let key = key.as_str();
        assert_eq!(
            statements[1..],
            [
                json!({ "Sid": "UseKey1", "Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                        "Resource": key, "Condition": via("s3.us-east-1.amazonaws.com") }),
                json!({ "Sid": "UseKey2", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": key,
                        "Condition": via("dynamodb.us-east-1.amazonaws.com") }),
                json!({ "Sid": "UseKey3", "Effect": "Allow", "Action": "kms:Decrypt",
                        "Resource": "arn:aws-cn:kms:cn-north-1:123456789012:key/*",
                        "Condition": { "StringEquals": { "kms:ViaService": [
                                           "s3.cn-north-1.amazonaws.com", "s3.cn-north-1.amazonaws.com.cn"] },
                                       "ForAnyValue:StringEquals": { "kms:ResourceAliases": "alias/app" } } }),
            ]
        );
    }

    #[test]
    fn a_traced_program_may_write_traces() {
        check(
            function_policy(&UsedResources { tracing: true, ..UsedResources::default() }, LOGS, None),
            expect![[r#"
            WriteLogs: logs:CreateLogStream logs:PutLogEvents ON arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler:*
            WriteTraces: xray:PutTelemetryRecords xray:PutTraceSegments ON *
        "#]],
        );
    }

    #[test]
    fn without_uses_a_program_may_only_log() {
        expect![[r#"{"Version":"2012-10-17","Statement":{"Sid":"WriteLogs","Effect":"Allow","Action":["logs:CreateLogStream","logs:PutLogEvents"],"Resource":"arn:aws:logs:us-east-1:1:log-group:/aws/lambda/p-labeler:*"}}"#]].assert_eq(&function_policy(&UsedResources::default(), LOGS, None).to_string());
    }

    #[test]
    fn a_destination_of_failed_events_adds_the_right_to_write_there() {
        let of = |arn: &str| function_policy(&UsedResources::default(), LOGS, Some(arn));
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
