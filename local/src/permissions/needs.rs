//! The actions and resources that each operation needs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Need;
use crate::ACCOUNT;
use crate::call::{Call, Request};
use crate::{lambda_route, s3_address};

/// What ARNs need to know beside a call.
pub(crate) struct Scope<'a> {
    pub region: &'a str,
    /// The ARN of the role with this name, which has a path.
    pub role_arn: &'a dyn Fn(&str) -> Option<String>,
}

/// What the caller must be allowed for a call; all of it.
///
/// An operation that no line speaks of needs the action of its own name on everything.
pub(crate) fn needs(call: &Call, request: &Request, place: &Scope) -> Vec<Need> {
    let operation = call.operation.as_str();
    match call.service.as_str() {
        "s3" => s3_needs(operation, request),
        "dynamodb" => dynamodb_needs(operation, &json(request), place),
        "rekognition" => vec![Need::new(format!("rekognition:{operation}"), "*")],
        "logs" => vec![Need::new(format!("logs:{operation}"), log_resource(operation, &json(request), place))],
        "lambda" => lambda_needs(operation, request, place),
        "iam" => iam_needs(operation, &request.form(), place),
        "sts" => sts_needs(operation, &request.form()),
        "ec2" => ec2_needs(operation, &request.form(), place),
        "autoscaling" => {
            vec![Need::new(format!("autoscaling:{operation}"), group_arn(operation, &request.form(), place))]
        }
        "elasticloadbalancing" => elb_needs(operation, &request.form(), place),
        service => vec![Need::new(format!("{service}:{operation}"), "*")],
    }
}

fn json(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// Operations of S3 whose action has another name; of a version, it has yet another one.
const S3_ACTIONS: &[(&str, &str)] = &[
    ("AbortMultipartUpload", "AbortMultipartUpload"),
    ("CompleteMultipartUpload", "PutObject"),
    ("CopyObject", "PutObject"),
    ("CreateMultipartUpload", "PutObject"),
    ("DeleteBucketCors", "PutBucketCORS"),
    ("DeleteBucketEncryption", "PutEncryptionConfiguration"),
    ("DeleteBucketLifecycle", "PutLifecycleConfiguration"),
    ("DeleteBucketOwnershipControls", "PutBucketOwnershipControls"),
    ("DeleteBucketReplication", "PutReplicationConfiguration"),
    ("DeleteBucketTagging", "PutBucketTagging"),
    ("DeletePublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration"),
    ("GetBucketAnalyticsConfiguration", "GetAnalyticsConfiguration"),
    ("GetBucketCors", "GetBucketCORS"),
    ("GetBucketEncryption", "GetEncryptionConfiguration"),
    ("GetBucketIntelligentTieringConfiguration", "GetIntelligentTieringConfiguration"),
    ("GetBucketInventoryConfiguration", "GetInventoryConfiguration"),
    ("GetBucketLifecycleConfiguration", "GetLifecycleConfiguration"),
    ("GetBucketMetricsConfiguration", "GetMetricsConfiguration"),
    ("GetBucketNotificationConfiguration", "GetBucketNotification"),
    ("GetBucketReplication", "GetReplicationConfiguration"),
    ("GetObjectLockConfiguration", "GetBucketObjectLockConfiguration"),
    ("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("HeadBucket", "ListBucket"),
    ("HeadObject", "GetObject"),
    ("ListMultipartUploads", "ListBucketMultipartUploads"),
    ("ListObjectVersions", "ListBucketVersions"),
    ("ListObjects", "ListBucket"),
    ("ListObjectsV2", "ListBucket"),
    ("ListParts", "ListMultipartUploadParts"),
    ("PostObject", "PutObject"),
    ("PutBucketAccelerateConfiguration", "PutAccelerateConfiguration"),
    ("PutBucketCors", "PutBucketCORS"),
    ("PutBucketEncryption", "PutEncryptionConfiguration"),
    ("PutBucketLifecycleConfiguration", "PutLifecycleConfiguration"),
    ("PutBucketNotificationConfiguration", "PutBucketNotification"),
    ("PutBucketReplication", "PutReplicationConfiguration"),
    ("PutObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    ("PutPublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("UploadPart", "PutObject"),
    ("UploadPartCopy", "PutObject"),
];

/// Actions that have a sister for one version of an object.
const OF_VERSIONS: &[(&str, &str)] = &[
    ("DeleteObject", "DeleteObjectVersion"),
    ("DeleteObjectTagging", "DeleteObjectVersionTagging"),
    ("GetObject", "GetObjectVersion"),
    ("GetObjectAcl", "GetObjectVersionAcl"),
    ("GetObjectAttributes", "GetObjectVersionAttributes"),
    ("GetObjectTagging", "GetObjectVersionTagging"),
    ("PutObjectAcl", "PutObjectVersionAcl"),
    ("PutObjectTagging", "PutObjectVersionTagging"),
];

fn s3_needs(operation: &str, request: &Request) -> Vec<Need> {
    let (bucket, key) = s3_address::target(request);
    let Some(bucket) = bucket else {
        return vec![Need::new("s3:ListAllMyBuckets", "arn:aws:s3:::*")];
    };
    if operation == "DeleteObjects" {
        // Each key has its own answer.
        return Vec::new();
    }
    let action = S3_ACTIONS.iter().find(|(name, _)| *name == operation).map_or(operation, |(_, action)| action);
    // What is presigned may have its headers in its query.
    let header = |name: &str| request.header(name).map(str::to_owned).or_else(|| request.parameter(name));
    let with = |and: &[(&str, &str)], resource: &str| {
        let and = and.iter().filter(|(name, _)| header(name).is_some());
        and.map(|(_, action)| Need::new(*action, resource)).collect::<Vec<_>>()
    };
    let Some(key) = key else {
        let asked = |name: &str| request.parameter(name);
        let arn = s3_address::bucket_arn(&bucket);
        let need = Need::new(format!("s3:{action}"), &arn)
            .knowing("s3:x-amz-acl", header("x-amz-acl"))
            .knowing("s3:prefix", asked("prefix"))
            .knowing("s3:delimiter", asked("delimiter"))
            .knowing("s3:max-keys", asked("max-keys"));
        let mut needs = vec![need];
        if operation == "CreateBucket" {
            needs.extend(with(WITH_BUCKET, &arn));
        }
        return needs;
    };
    let object = s3_address::object_arn(&bucket, &key);
    let need = object_need(action, &object, request.parameter("versionId"));
    let mut needs = vec![
        need.knowing("s3:x-amz-acl", header("x-amz-acl"))
            .knowing("s3:x-amz-storage-class", header("x-amz-storage-class"))
            .knowing("s3:x-amz-server-side-encryption", header("x-amz-server-side-encryption")),
    ];
    if let Ok((bucket, key, version)) = s3_address::copied(request) {
        needs.push(object_need("GetObject", &s3_address::object_arn(&bucket, &key), version));
    }
    if action == "PutObject" {
        needs.extend(with(WITH_OBJECT, &object));
    }
    if operation == "GetObjectAttributes" {
        needs.push(object_need("GetObject", &object, request.parameter("versionId")));
    }
    needs
}

/// What a new bucket needs beside its own action, by the header that asks for it.
const WITH_BUCKET: &[(&str, &str)] = &[
    ("x-amz-acl", "s3:PutBucketAcl"),
    ("x-amz-bucket-object-lock-enabled", "s3:PutBucketObjectLockConfiguration"),
    ("x-amz-bucket-object-lock-enabled", "s3:PutBucketVersioning"),
    ("x-amz-object-ownership", "s3:PutBucketOwnershipControls"),
];

/// The same for a new object. A conditional write reveals what exists.
const WITH_OBJECT: &[(&str, &str)] = &[
    ("if-match", "s3:GetObject"),
    ("x-amz-acl", "s3:PutObjectAcl"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-tagging", "s3:PutObjectTagging"),
];

/// What an action on one object, or one version of it, needs.
pub(crate) fn object_need(action: &str, arn: &str, version: Option<String>) -> Need {
    let of_version = OF_VERSIONS.iter().find(|(name, _)| *name == action).map_or(action, |(_, action)| action);
    match version {
        Some(version) => Need::new(format!("s3:{of_version}"), arn).knowing("s3:VersionId", Some(version)),
        None => Need::new(format!("s3:{action}"), arn),
    }
}

fn dynamodb_needs(operation: &str, input: &Value, place: &Scope) -> Vec<Need> {
    let table = |name: &str| match name.starts_with("arn:") {
        true => name.to_owned(),
        false => format!("arn:aws:dynamodb:{}:{ACCOUNT}:table/{name}", place.region),
    };
    let on = |action: &str, name: &str| Need::new(format!("dynamodb:{action}"), table(name));
    let named = input["TableName"].as_str();
    match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = input["RequestItems"].as_object().into_iter().flatten();
            at_least_one(operation, tables.map(|(name, _)| on(operation, name)).collect())
        }
        "TransactGetItems" | "TransactWriteItems" => {
            let items = input["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
            let needs = items.flatten().map(|(verb, item)| {
                let action = match verb.as_str() {
                    "ConditionCheck" => "ConditionCheckItem".to_owned(),
                    verb => format!("{verb}Item"),
                };
                on(&action, item["TableName"].as_str().unwrap_or_default())
            });
            at_least_one(operation, needs.collect())
        }
        "ExecuteStatement" => {
            let (action, name) = partiql(input["Statement"].as_str().unwrap_or_default());
            vec![on(action, &name)]
        }
        "BatchExecuteStatement" | "ExecuteTransaction" => {
            let list = if operation == "ExecuteTransaction" { "TransactStatements" } else { "Statements" };
            let statements = input[list].as_array().into_iter().flatten();
            let statements = statements.map(|one| partiql(one["Statement"].as_str().unwrap_or_default()));
            at_least_one(operation, statements.map(|(action, name)| on(action, &name)).collect())
        }
        "DescribeStream" | "GetShardIterator" => {
            vec![Need::new(format!("dynamodb:{operation}"), input["StreamArn"].as_str().unwrap_or_default())]
        }
        "GetRecords" => {
            let table = table_of_iterator(input["ShardIterator"].as_str().unwrap_or_default());
            vec![on(operation, &format!("{}/stream/*", table.unwrap_or_default()))]
        }
        "ListStreams" => vec![on(operation, &format!("{}/stream/*", named.unwrap_or("*")))],
        "ListTagsOfResource" | "TagResource" | "UntagResource" => {
            vec![Need::new(format!("dynamodb:{operation}"), input["ResourceArn"].as_str().unwrap_or_default())]
        }
        "CreateTable" if input["Tags"].as_array().is_some_and(|tags| !tags.is_empty()) => {
            ["CreateTable", "TagResource"].iter().map(|action| on(action, named.unwrap_or_default())).collect()
        }
        _ => match (named, input["IndexName"].as_str()) {
            (Some(name), index) => {
                let place = index.map_or_else(|| name.to_owned(), |index| format!("{name}/index/{index}"));
                vec![on(operation, &place).knowing("dynamodb:Select", text(&input["Select"]))]
            }
            (None, _) => vec![Need::new(format!("dynamodb:{operation}"), "*")],
        },
    }
}

/// A call about nothing is refused for what it is by its service, if its caller may call it at all.
fn at_least_one(operation: &str, needs: Vec<Need>) -> Vec<Need> {
    if needs.is_empty() { vec![Need::new(format!("dynamodb:{operation}"), "*")] } else { needs }
}

/// The table whose stream an iterator reads, which is in it.
fn table_of_iterator(iterator: &str) -> Option<String> {
    let (table, ..) = dynoxide::actions::get_shard_iterator::decode_shard_iterator(iterator)?;
    Some(table)
}

/// The action of a PartiQL statement, and the table or index it is about.
fn partiql(statement: &str) -> (&'static str, String) {
    let mut words = statement.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let (action, before) = match first.as_str() {
        "INSERT" => ("PartiQLInsert", "INTO"),
        "UPDATE" => ("PartiQLUpdate", "UPDATE"),
        "DELETE" => ("PartiQLDelete", "FROM"),
        _ => ("PartiQLSelect", "FROM"),
    };
    let mut words = statement.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case(before)).skip(1);
    let name = words.next().unwrap_or_default().trim_end_matches(';');
    let parts: Vec<&str> = match name.strip_prefix('"') {
        Some(quoted) => quoted.split('"').step_by(2).filter(|part| !part.is_empty()).collect(),
        None => name.splitn(2, '.').map(|part| part.trim_matches('"')).collect(),
    };
    (action, parts.join("/index/"))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Groups stand in policies with what follows them: `log-group:NAME:log-stream:STREAM` (docs/aws.md §7.6).
fn log_resource(operation: &str, input: &Value, place: &Scope) -> String {
    let group = |name: &str| format!("arn:aws:logs:{}:{ACCOUNT}:log-group:{name}", place.region);
    if let Some(arn) = input["resourceArn"].as_str() {
        return arn.trim_end_matches(":*").to_owned();
    }
    let name = input["logGroupName"].as_str();
    let name = name.or_else(|| input["logGroupIdentifier"].as_str()?.rsplit(":log-group:").next());
    let stream = match operation {
        "GetLogEvents" | "PutLogEvents" => input["logStreamName"].as_str(),
        _ => None,
    };
    format!("{}:log-stream:{}", group(name.unwrap_or_default().trim_end_matches(":*")), stream.unwrap_or_default())
}

/// What a function's runtime needs to write a line: its stream, once, and then the line.
pub(crate) fn to_write_logs(region: &str, group: &str, stream: &str) -> [Need; 2] {
    let group = format!("arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}:log-stream:");
    [Need::new("logs:CreateLogStream", group.clone()), Need::new("logs:PutLogEvents", format!("{group}{stream}"))]
}

/// What it needs first, where the group does not exist.
pub(crate) fn to_make_logs(region: &str, group: &str) -> Need {
    Need::new("logs:CreateLogGroup", format!("arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}:log-stream:"))
}

fn lambda_needs(operation: &str, request: &Request, place: &Scope) -> Vec<Need> {
    let input = json(request);
    let function = |name: &str| format!("arn:aws:lambda:{}:{ACCOUNT}:function:{name}", place.region);
    let name = match operation {
        "CreateFunction" => input["FunctionName"].as_str().map(lambda_route::plain_name).unwrap_or_default().to_owned(),
        _ => lambda_route::named(request),
    };
    let action = match operation {
        "Invoke" => "InvokeFunction",
        operation => operation,
    };
    let resource = match operation {
        "GetAccountSettings" | "ListEventSourceMappings" | "ListFunctions" | "UnknownOperation" => "*".to_owned(),
        _ => function(&name),
    };
    let mut needs = vec![Need::new(format!("lambda:{action}"), resource)];
    if let ("CreateFunction" | "UpdateFunctionConfiguration", Some(role)) = (operation, input["Role"].as_str()) {
        needs.push(
            Need::new("iam:PassRole", role).knowing("iam:PassedToService", Some("lambda.amazonaws.com".to_owned())),
        );
    }
    needs
}

type Form = BTreeMap<String, String>;

fn iam_needs(operation: &str, form: &Form, place: &Scope) -> Vec<Need> {
    let path = form.get("Path").map_or("/", String::as_str);
    let arn = |kind: &str, name: &str| format!("arn:aws:iam::{ACCOUNT}:{kind}{path}{name}");
    let role = |name: &String| (place.role_arn)(name).unwrap_or_else(|| arn("role", name));
    let resource = if let Some(profile) = form.get("InstanceProfileName") {
        arn("instance-profile", profile)
    } else if let Some(name) = form.get("RoleName") {
        role(name)
    } else if let Some(policy) = form.get("PolicyArn") {
        policy.clone()
    } else if let Some(name) = form.get("PolicyName") {
        arn("policy", name)
    } else {
        match operation {
            "ListRoles" => arn("role", ""),
            "ListInstanceProfiles" => arn("instance-profile", ""),
            "ListPolicies" => arn("policy", ""),
            _ => "*".to_owned(),
        }
    };
    let mut needs = vec![Need::new(format!("iam:{operation}"), resource)];
    if let ("AddRoleToInstanceProfile", Some(name)) = (operation, form.get("RoleName")) {
        needs.push(Need::new("iam:PassRole", role(name)));
    }
    needs
}

/// Everybody may ask who he is (docs/aws.md §3.1).
fn sts_needs(operation: &str, form: &Form) -> Vec<Need> {
    match operation {
        "GetCallerIdentity" | "GetSessionToken" => Vec::new(),
        "AssumeRole" => vec![Need::new("sts:AssumeRole", form.get("RoleArn").cloned().unwrap_or_default())],
        _ => vec![Need::new(format!("sts:{operation}"), "*")],
    }
}

fn ec2_needs(operation: &str, form: &Form, place: &Scope) -> Vec<Need> {
    let arn = |kind: &str, id: &str| format!("arn:aws:ec2:{}:{ACCOUNT}:{kind}/{id}", place.region);
    let action = format!("ec2:{operation}");
    if operation.starts_with("Describe") {
        return vec![Need::new(action, "*")];
    }
    let listed = |name: &str| {
        let prefix = format!("{name}.");
        form.iter().filter(move |(field, _)| field.starts_with(&prefix)).map(|(_, value)| value.clone())
    };
    let mut resources: Vec<String> = listed("ResourceId").map(|id| arn(kind_of(&id), &id)).collect();
    resources.extend(listed("InstanceId").map(|id| arn("instance", &id)));
    for (field, kind) in
        [("GroupId", "security-group"), ("LaunchTemplateId", "launch-template"), ("InstanceId", "instance")]
    {
        resources.extend(form.get(field).map(|id| arn(kind, id)));
    }
    if resources.is_empty() {
        resources.push(match operation {
            "CreateSecurityGroup" | "DeleteSecurityGroup" => arn("security-group", "*"),
            _ if operation.contains("LaunchTemplate") => arn("launch-template", "*"),
            _ => "*".to_owned(),
        });
    }
    resources.into_iter().map(|resource| Need::new(action.clone(), resource)).collect()
}

/// What an id is the id of.
fn kind_of(id: &str) -> &'static str {
    const KINDS: &[(&str, &str)] = &[
        ("i-", "instance"),
        ("lt-", "launch-template"),
        ("sgr-", "security-group-rule"),
        ("sg-", "security-group"),
        ("subnet-", "subnet"),
        ("vpc-", "vpc"),
    ];
    KINDS.iter().find(|(prefix, _)| id.starts_with(prefix)).map_or("*", |(_, kind)| kind)
}

/// The unique part of a group's ARN is not known to who names it.
fn group_arn(operation: &str, form: &Form, place: &Scope) -> String {
    let named = form.get("AutoScalingGroupName").or_else(|| form.get("Tags.member.1.ResourceId"));
    match named {
        Some(name) if !operation.starts_with("Describe") => {
            format!("arn:aws:autoscaling:{}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{name}", place.region)
        }
        _ => "*".to_owned(),
    }
}

fn elb_needs(operation: &str, form: &Form, place: &Scope) -> Vec<Need> {
    let action = format!("elasticloadbalancing:{operation}");
    let new = |kind: &str| {
        let name = form.get("Name").cloned().unwrap_or_default();
        format!("arn:aws:elasticloadbalancing:{}:{ACCOUNT}:{kind}/{name}/*", place.region)
    };
    let resources: Vec<String> = match operation {
        operation if operation.starts_with("Describe") => vec!["*".to_owned()],
        "CreateLoadBalancer" => vec![new("loadbalancer/app")],
        "CreateTargetGroup" => vec![new("targetgroup")],
        _ => {
            let listed = form.iter().filter(|(field, _)| field.starts_with("ResourceArns.member."));
            let named = ["LoadBalancerArn", "ListenerArn", "TargetGroupArn"].iter().find_map(|field| form.get(*field));
            named.into_iter().chain(listed.map(|(_, arn)| arn)).cloned().collect()
        }
    };
    match resources.is_empty() {
        true => vec![Need::new(action, "*")],
        false => resources.into_iter().map(|resource| Need::new(action.clone(), resource)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::Method;

    /// The needs of a call as lines of `action resource`.
    fn of(service: &str, method: Method, path: &str, headers: &[(&'static str, &str)], body: &str) -> Vec<String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let mut request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            upload: None,
        };
        request.headers.insert("authorization", scope.parse().unwrap());
        let role_arn = |name: &str| (name == "web").then(|| "arn:aws:iam::000000000000:role/deployer/web".to_owned());
        let place = Scope { region: "us-east-1", role_arn: &role_arn };
        let call = crate::routing::identify(&request);
        needs(&call, &request, &place).into_iter().map(|need| format!("{} {}", need.action, need.resource)).collect()
    }

    fn s3(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Vec<String> {
        of("s3", method, path, headers, "")
    }

    #[test]
    fn objects_and_buckets_have_their_own_actions() {
        for (method, path, expected) in [
            (Method::GET, "/", "s3:ListAllMyBuckets arn:aws:s3:::*"),
            (Method::GET, "/b/a%20b/c", "s3:GetObject arn:aws:s3:::b/a b/c"),
            (Method::HEAD, "/b/k", "s3:GetObject arn:aws:s3:::b/k"),
            (Method::GET, "/b/k?versionId=1", "s3:GetObjectVersion arn:aws:s3:::b/k"),
            (Method::DELETE, "/b/k?versionId=1", "s3:DeleteObjectVersion arn:aws:s3:::b/k"),
            (Method::PUT, "/b/k", "s3:PutObject arn:aws:s3:::b/k"),
            (Method::POST, "/b/k?uploads", "s3:PutObject arn:aws:s3:::b/k"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=u", "s3:PutObject arn:aws:s3:::b/k"),
            (Method::DELETE, "/b/k?uploadId=u", "s3:AbortMultipartUpload arn:aws:s3:::b/k"),
            (Method::GET, "/b/k?uploadId=u", "s3:ListMultipartUploadParts arn:aws:s3:::b/k"),
            (Method::PUT, "/b/k?tagging", "s3:PutObjectTagging arn:aws:s3:::b/k"),
            (Method::GET, "/b?list-type=2", "s3:ListBucket arn:aws:s3:::b"),
            (Method::HEAD, "/b", "s3:ListBucket arn:aws:s3:::b"),
            (Method::GET, "/b?versions", "s3:ListBucketVersions arn:aws:s3:::b"),
            (Method::PUT, "/b?cors", "s3:PutBucketCORS arn:aws:s3:::b"),
            (Method::DELETE, "/b", "s3:DeleteBucket arn:aws:s3:::b"),
        ] {
            assert_eq!(s3(method.clone(), path, &[]), [expected], "{method} {path}");
        }
        let copy = s3(Method::PUT, "/b/k", &[("x-amz-copy-source", "/from/a%20b?versionId=1")]);
        assert_eq!(copy, ["s3:PutObject arn:aws:s3:::b/k", "s3:GetObjectVersion arn:aws:s3:::from/a b"]);
        let tagged = s3(Method::PUT, "/b/k", &[("x-amz-tagging", "a=b")]);
        assert_eq!(tagged, ["s3:PutObject arn:aws:s3:::b/k", "s3:PutObjectTagging arn:aws:s3:::b/k"]);
        let locked = s3(Method::PUT, "/b/k?x-amz-object-lock-mode=GOVERNANCE", &[]);
        assert_eq!(locked, ["s3:PutObject arn:aws:s3:::b/k", "s3:PutObjectRetention arn:aws:s3:::b/k"]);
    }

    #[test]
    fn each_table_of_a_call_counts() {
        let dynamodb = |operation: &'static str, body: &str| {
            let target = format!("DynamoDB_20120810.{operation}");
            let needs = of("dynamodb", Method::POST, "/", &[("x-amz-target", &target)], body);
            needs.join(" + ").replace("arn:aws:dynamodb:us-east-1:000000000000:table/", "")
        };
        for (operation, body, expected) in [
            ("PutItem", r#"{"TableName":"posts"}"#, "dynamodb:PutItem posts"),
            ("Query", r#"{"TableName":"posts","IndexName":"by-day"}"#, "dynamodb:Query posts/index/by-day"),
            (
                "GetItem",
                r#"{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/posts"}"#,
                "dynamodb:GetItem posts",
            ),
            ("ListTables", "{}", "dynamodb:ListTables *"),
            (
                "BatchGetItem",
                r#"{"RequestItems":{"a":{},"b":{}}}"#,
                "dynamodb:BatchGetItem a + dynamodb:BatchGetItem b",
            ),
            (
                "TransactWriteItems",
                r#"{"TransactItems":[{"Put":{"TableName":"a"}},{"ConditionCheck":{"TableName":"b"}}]}"#,
                "dynamodb:PutItem a + dynamodb:ConditionCheckItem b",
            ),
            ("ExecuteStatement", r#"{"Statement":"select * from \"a\".\"i\""}"#, "dynamodb:PartiQLSelect a/index/i"),
            ("ExecuteStatement", r#"{"Statement":"INSERT INTO a VALUE {}"}"#, "dynamodb:PartiQLInsert a"),
            ("ExecuteStatement", r#"{"Statement":"UPDATE \"a\" SET x=1"}"#, "dynamodb:PartiQLUpdate a"),
            ("ExecuteStatement", r#"{"Statement":"DELETE FROM a"}"#, "dynamodb:PartiQLDelete a"),
            ("ExecuteStatement", "{}", "dynamodb:PartiQLSelect "),
            (
                "ExecuteTransaction",
                r#"{"TransactStatements":[{"Statement":"DELETE FROM a"},{"Statement":"SELECT * FROM b"}]}"#,
                "dynamodb:PartiQLDelete a + dynamodb:PartiQLSelect b",
            ),
            (
                "BatchExecuteStatement",
                r#"{"Statements":[{"Statement":"UPDATE a SET x=1"}]}"#,
                "dynamodb:PartiQLUpdate a",
            ),
            ("ListStreams", r#"{"TableName":"a"}"#, "dynamodb:ListStreams a/stream/*"),
            (
                "DescribeStream",
                r#"{"StreamArn":"arn:aws:dynamodb:us-east-1:000000000000:table/a/stream/b"}"#,
                "dynamodb:DescribeStream a/stream/b",
            ),
        ] {
            assert_eq!(dynamodb(operation, body), expected, "{operation} {body}");
        }
    }

    #[test]
    fn the_other_services_name_what_they_are_about() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let query = |service: &str, body: &str| of(service, Method::POST, "/", &form, body).join(" + ");
        let logs = |operation: &str, body: &str| {
            let target = format!("Logs_20140328.{operation}");
            of("logs", Method::POST, "/", &[("x-amz-target", &target)], body).join(" + ")
        };
        for (found, expected) in [
            (
                logs("PutLogEvents", r#"{"logGroupName":"g","logStreamName":"s"}"#),
                "logs:PutLogEvents arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:s",
            ),
            (
                logs("CreateLogStream", r#"{"logGroupName":"g","logStreamName":"s"}"#),
                "logs:CreateLogStream arn:aws:logs:us-east-1:000000000000:log-group:g:log-stream:",
            ),
            (
                of("lambda", Method::POST, "/2015-03-31/functions/f/invocations", &[], "{}").join(" + "),
                "lambda:InvokeFunction arn:aws:lambda:us-east-1:000000000000:function:f",
            ),
            (
                of("lambda", Method::POST, "/2015-03-31/functions", &[], r#"{"FunctionName":"f","Role":"r"}"#)
                    .join(" + "),
                "lambda:CreateFunction arn:aws:lambda:us-east-1:000000000000:function:f + iam:PassRole r",
            ),
            (query("sts", "Action=GetCallerIdentity"), ""),
            (query("sts", "Action=AssumeRole&RoleArn=r"), "sts:AssumeRole r"),
            (query("iam", "Action=GetRole&RoleName=web"), "iam:GetRole arn:aws:iam::000000000000:role/deployer/web"),
            (query("iam", "Action=ListRoles"), "iam:ListRoles arn:aws:iam::000000000000:role/"),
            (query("ec2", "Action=DescribeVpcs"), "ec2:DescribeVpcs *"),
            (
                query("ec2", "Action=TerminateInstances&InstanceId.1=i-1"),
                "ec2:TerminateInstances arn:aws:ec2:us-east-1:000000000000:instance/i-1",
            ),
            (
                query("autoscaling", "Action=SetDesiredCapacity&AutoScalingGroupName=web"),
                "autoscaling:SetDesiredCapacity arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:*:autoScalingGroupName/web",
            ),
            (
                query("elasticloadbalancing", "Action=DeleteListener&ListenerArn=l"),
                "elasticloadbalancing:DeleteListener l",
            ),
            (query("sqs", "Action=SendMessage"), "sqs:SendMessage *"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
