//! Remedies for permanent refusals: by AWS's message where it is known, otherwise by the class of the code (docs/aws.md
//! §3, §18).

use wildmatch::WildMatch;

use crate::{
    cloud::{health, sign_in::NOT_SIGNED_IN},
    engine::Fault,
};

/// The remedy for a refused call. `what` names its resource for users.
pub fn remedy(fault: &Fault, what: Option<&str>) -> Option<String> {
    if fault.code == NOT_SIGNED_IN {
        return Some(AGAIN.into());
    }
    if lacks_credentials(fault) {
        return Some(SIGN_IN.into());
    }
    if fault.code.starts_with(EXPIRED) {
        return Some(COPY.into());
    }
    if is_about_credentials(fault) {
        return Some(RENEW.into());
    }
    let known = health::advice(fault).map(str::to_owned).or_else(|| known(fault));
    known.or_else(|| Class::of(&fault.code).map(|class| class.remedy(fault, what.unwrap_or("this stack"))))
}

fn known(fault: &Fault) -> Option<String> {
    let said = format!("{}: {}", fault.code, fault.message);
    let (_, remedy) = KNOWN.iter().find(|(text, _)| said.contains(text))?;
    Some(remedy.replace(NUMBER, bracketed_number(&fault.message).unwrap_or("some")))
}

/// The number that AWS's message has in brackets.
fn bracketed_number(message: &str) -> Option<&str> {
    let (number, _) = message.rsplit_once('[')?.1.split_once(']')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// The placeholder in a remedy for the number in AWS's message.
const NUMBER: &str = "{number}";

const SIGN_IN: &str = "sign in (`aws configure`, `aws sso login`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or \
                       use --local, which needs no account";
/// The fault itself contains the first step.
const AGAIN: &str = "do that; the same command then continues";
/// The beginning of the codes for credentials that have expired.
const EXPIRED: &str = "ExpiredToken";
const COPY: &str = "renew the credentials (AWS Academy: start the lab, open AWS Details, AWS CLI, Show, and copy into \
                    ~/.aws/credentials; others: sign in again); the same command then continues";
const RENEW: &str = "renew the credentials and check the clock; the same command then continues";

/// Codes about credentials or the clock (docs/aws.md §3.1).
const CREDENTIALS: &[&str] = &[
    NOT_SIGNED_IN,
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "AuthFailure",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "InvalidAccessKeyId",
];

/// Whether the call was refused because of the caller's credentials.
pub fn is_about_credentials(fault: &Fault) -> bool {
    CREDENTIALS.contains(&fault.code.as_str()) || lacks_credentials(fault)
}

/// Whether the caller lacks a permission.
pub fn is_denial(fault: &Fault) -> bool {
    Class::of(&fault.code) == Some(Class::Forbidden)
}

fn lacks_credentials(fault: &Fault) -> bool {
    let message = fault.message.to_lowercase();
    fault.code == "NoConnection" && message.contains("credential")
}

/// Texts in codes and messages, with their remedies (docs/aws.md §3.2 to §3.4).
const KNOWN: &[(&str, &str)] = &[
    (
        "not authorized to perform: iam:",
        "accounts of AWS Academy may not write to IAM: add `roles: { existing: LabRole, instance_profile: \
         LabInstanceProfile }` to stack.yaml, or sign in with the lab's own credentials, which are recognised",
    ),
    (
        "not eligible for Free Tier",
        "the account's free plan only starts t3.micro, t3.small, t4g.micro, t4g.small, c7i-flex.large and \
         m7i-flex.large: set `instance_type: t3.micro`, or another of them",
    ),
    (
        "cannot be assumed by Lambda",
        "the role's trust policy must allow lambda.amazonaws.com to assume it: correct it, or name another one under \
         `roles`",
    ),
    (
        "UnreservedConcurrentExecution",
        "lower the function's `concurrency`, leave it out, or ask AWS for a higher quota (`aws service-quotas \
         request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value …`): \
         {number} of the account's concurrent executions stay unreserved",
    ),
    (
        "destination ARN",
        "the bucket, queue or topic in `on_failure` must exist, in this region, and a queue or topic must not be FIFO",
    ),
    (
        "Access Denied for bucket",
        "Elastic Load Balancing may not write into the artifact bucket, although `up` allows it there: look for a statement \
         in its policy that denies it (`aws s3api get-bucket-policy`)",
    ),
    (
        "WAFNonexistentItemException",
        "correct `load_balancer.waf` in stack.yaml: `aws wafv2 list-web-acls --scope REGIONAL` lists the web ACLs of \
         the region; WAF may take some minutes to find a new one",
    ),
    (
        "WAFInvalidOperationException",
        "if AWS Firewall Manager manages the web ACLs of this account, leave `load_balancer.waf` out of stack.yaml",
    ),
    // Codes and messages of KMS, as the services pass them on (docs/aws.md §2.7).
    (
        "not authorized to perform: kms:",
        "allow this for these credentials, and in the policy of the key (`aws kms get-key-policy --key-id KEY`): a key of \
         another account needs both",
    ),
    (
        "is not allowed to be used with",
        "correct `log_key` in stack.yaml, or allow CloudWatch Logs to use the key: in its policy, the principal \
         `logs.REGION.amazonaws.com` needs `kms:Encrypt`, `kms:Decrypt`, `kms:ReEncrypt*`, `kms:GenerateDataKey*` and \
         `kms:Describe*`",
    ),
    (
        "is pending deletion",
        "what a key has encrypted cannot be read without it: keep the key with `aws kms cancel-key-deletion --key-id KEY` \
         and `aws kms enable-key --key-id KEY`, or name another one in stack.yaml",
    ),
    ("KMS.Disabled", DISABLED_KEY),
    ("KMSDisabled", DISABLED_KEY),
    ("KMSInvalidState", "`aws kms describe-key --key-id KEY` shows the state of the key: name one that is enabled"),
    ("KMS.NotFound", ABSENT_KEY),
    ("KMSNotFound", ABSENT_KEY),
    (
        "KMS key is invalid for CreateGrant",
        "correct `key` in stack.yaml: the key must exist in this region and be enabled, and its policy must allow these \
         credentials `kms:CreateGrant`",
    ),
    (
        "INACCESSIBLE_ENCRYPTION_CREDENTIALS",
        "enable the key of the table, cancel its deletion, or restore its policy: DynamoDB archives a table whose key it \
         cannot use for seven days",
    ),
    (
        "ARCHIVED: ",
        "its key could not be used for seven days: restore its rows from the backup that DynamoDB made (`aws dynamodb \
         list-backups`)",
    ),
    ("vCPU capacity", "ask AWS for a higher vCPU quota (Service Quotas, L-1216C47A), or lower `instances.max`"),
    ("does not support creating load balancers", "only AWS Support can allow load balancers in this account"),
    ("protected against deletion", "set `protect: false` for the table, run `up`, then `down` again"),
    ("InvalidAMIID", IMAGE),
    ("image id", IMAGE),
    (
        "provided already exists",
        "the function already has a statement of this name that is not ours: remove it by hand (`aws lambda \
         remove-permission`)",
    ),
    (
        "overlap",
        "the bucket already has a notification for the same uploads: remove it by hand, or give `on_upload` another \
         `prefix` or `suffix`",
    ),
    (
        "NoDefaultVpc",
        "write `network: own` in stack.yaml, and the stack makes one for itself; or make the default one with `aws ec2 \
         create-default-vpc`, in this region; or name a network of yours: `network: { vpc: vpc-…, subnets: [subnet-…, \
         subnet-…] }`",
    ),
    ("NoVpc", "correct `network.vpc` in stack.yaml (`aws ec2 describe-vpcs` lists them), or `region`"),
    ("NoSubnet", "correct `network.subnets` in stack.yaml: `aws ec2 describe-subnets` lists them"),
    (
        "NoRoute",
        "name public subnets in `network.subnets`, or add a route with `aws ec2 create-route \
         --destination-cidr-block 0.0.0.0/0 --gateway-id igw-… --route-table-id rtb-…`",
    ),
    (
        "NoPublicAddresses",
        "name other subnets in `network.subnets`, or run `aws ec2 modify-subnet-attribute --map-public-ip-on-launch \
         --subnet-id subnet-…`: instances fetch their program from S3",
    ),
    ("SmallSubnet", "name larger subnets in `network.subnets`"),
    (
        "FullSubnet",
        "free addresses in it by removing what is no longer needed, or name another one in `network.subnets`",
    ),
    (
        "FullBlock",
        "delete one of these subnets with `aws ec2 delete-subnet --subnet-id subnet-…`: each subnet of the stack takes a \
         quarter of the block",
    ),
    ("SameZone", "name one subnet for each zone in `network.subnets`"),
    ("TooFewSubnets", "make one for each zone with `aws ec2 create-default-subnet --availability-zone ZONE`"),
    ("TooFewZones", "choose another `instance_type` in stack.yaml, or a subnet in another zone"),
    ("NoImage", "name a machine image of yours with `image` in stack.yaml"),
    ("LoadBalancerFailed", "AWS has given up building it: run `down`, then `up` again"),
    ("InstanceRefreshFailed", "correct the service or its `health_check`: the next `up` rolls it out again"),
];

const IMAGE: &str = "correct `image` in stack.yaml, or leave it out to use the newest Amazon Linux 2023 of the region";

const DISABLED_KEY: &str = "enable the key with `aws kms enable-key --key-id KEY`, or name another one in stack.yaml";

const ABSENT_KEY: &str =
    "correct the key in stack.yaml: `aws kms list-aliases` and `aws kms list-keys` list those of the region";

/// A class of error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The caller lacks a permission.
    Forbidden,
    /// A quota of the account is exhausted.
    Quota,
    /// The account is not fully set up.
    Account,
    /// Throttled.
    TooFast,
    /// AWS lacks capacity.
    Capacity,
    /// The name is taken by another account.
    Taken,
    /// Another resource uses it.
    InUse,
    /// Another change is in progress.
    Busy,
    /// The endpoint does not implement the operation.
    Unknown,
    /// A value is invalid.
    Input,
    /// AWS is unreachable or unavailable.
    Unreachable,
    /// A target is unhealthy.
    Ill,
}

/// Codes by class; the first match counts. `*` matches anything.
const CLASSES: &[(&str, Class)] = &[
    ("AccessDenied*", Class::Forbidden),
    ("UnauthorizedOperation", Class::Forbidden),
    ("Throttl*", Class::TooFast),
    ("RequestThrottled*", Class::TooFast),
    ("RequestLimitExceeded", Class::TooFast),
    ("TooManyRequests*", Class::TooFast),
    ("SlowDown", Class::TooFast),
    ("EC2ThrottledException", Class::TooFast),
    ("OptInRequired", Class::Account),
    ("PendingVerification", Class::Account),
    ("Blocked", Class::Account),
    ("OperationNotPermitted", Class::Account),
    ("TooMany*", Class::Quota),
    ("*LimitExceeded", Class::Quota),
    ("*LimitExceededException", Class::Quota),
    ("*QuotaExceeded*", Class::Quota),
    ("*LimitsExceededException", Class::Quota),
    ("CodeStorageExceededException", Class::Quota),
    ("Insufficient*", Class::Capacity),
    ("*AlreadyExist*", Class::Taken),
    ("*Duplicate*", Class::Taken),
    ("DependencyViolation", Class::InUse),
    ("*InUse", Class::InUse),
    ("DeleteConflict", Class::InUse),
    ("BucketNotEmpty", Class::InUse),
    ("OperationAborted*", Class::Busy),
    ("ResourceInUseException", Class::Busy),
    ("ResourceConflictException", Class::Busy),
    ("ConcurrentModification", Class::Busy),
    ("ResourceContention", Class::Busy),
    ("*InProgress", Class::Busy),
    ("InvalidAction", Class::Unknown),
    ("UnknownOperation*", Class::Unknown),
    ("NotImplemented*", Class::Unknown),
    ("MethodNotAllowed*", Class::Unknown),
    ("HTTP 405", Class::Unknown),
    ("HTTP 501", Class::Unknown),
    ("Validation*", Class::Input),
    ("Invalid*", Class::Input),
    ("WAFInvalid*", Class::Input),
    ("Malformed*", Class::Input),
    ("NoConnection", Class::Unreachable),
    ("Timeout", Class::Unreachable),
    ("Internal*", Class::Unreachable),
    ("WAFInternal*", Class::Unreachable),
    ("ServiceUnavailable*", Class::Unreachable),
    ("HTTP 5*", Class::Unreachable),
    ("NotHealthy", Class::Ill),
];

impl Class {
    fn of(code: &str) -> Option<Class> {
        CLASSES.iter().find(|(pattern, _)| WildMatch::new(pattern).matches(code)).map(|(_, class)| *class)
    }

    fn remedy(self, fault: &Fault, what: &str) -> String {
        match self {
            Class::Forbidden => forbidden(fault, what),
            Class::Quota => format!(
                "a quota of the account is used up: remove what is no longer needed, or request an increase (Service \
                 Quotas); then there is room for {what}"
            ),
            Class::Account => "AWS does not let this account do so yet: finish its sign-up and verification in the \
                               console, or ask AWS Support"
                .into(),
            Class::TooFast => "AWS is asked for too much at the moment, perhaps by others in the account: try again \
                               later"
                .into(),
            Class::Capacity => "AWS has no room for this at the moment: try again later, or choose another \
                                `instance_type`"
                .into(),
            Class::Taken => format!(
                "a resource with the name of {what} does not belong to this stack: remove it by hand, or give the stack another `name`"
            ),
            Class::InUse => format!("a resource outside this stack still uses {what}: remove it by hand"),
            Class::Busy => format!("another change of {what} is in progress: try again when it has finished"),
            Class::Unknown => format!(
                "the endpoint has no operation `{}`: AWS has it, so the endpoint is something else, perhaps an old \
                 imitation of AWS; check AWS_ENDPOINT_URL, or use --local. No entry of stack.yaml is at fault",
                fault.operation
            ),
            Class::Input => format!(
                "AWS does not take a value of {what}: correct its entry in stack.yaml; if that is right, the mistake \
                 is the deployer's"
            ),
            Class::Unreachable => "AWS, or the way to it, is down: check the connection and \
                                   https://health.aws.amazon.com"
                .into(),
            Class::Ill => format!(
                "look at what the targets of {what} answer and their consoles say, and correct the service, or give it \
                 longer with --healthy-within"
            ),
        }
    }
}

/// S3 gives the same answer for a bucket of another account.
fn forbidden(fault: &Fault, what: &str) -> String {
    let ask = format!(
        "these credentials may not do so: have the account's administrator allow `{}` for {what}, or use others \
         (--profile)",
        action(fault)
    );
    match fault.operation.contains("Bucket") {
        true => format!("{ask}; or is the bucket another account's? Then give the stack another `name`"),
        false => ask,
    }
}

/// The denied action, as policies name it if AWS's message has it, otherwise the operation.
fn action(fault: &Fault) -> &str {
    let said = fault.message.split_once("not authorized to perform: ");
    said.and_then(|(_, rest)| rest.split_whitespace().next())
        .filter(|action| action.contains(':'))
        .unwrap_or(&fault.operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(operation: &str, code: &str, message: &str, expected: &str) {
        let remedy = remedy(&Fault::new(operation, code, message), Some("table.posts (app-posts)"));
        assert!(remedy.as_deref().is_some_and(|it| it.contains(expected)), "{code}: {remedy:?} has no {expected:?}");
    }

    #[test]
    fn a_forbidden_action_is_named_with_its_resource() {
        let message = "User: x is not authorized to perform: dynamodb:CreateTable on resource: y";
        check(
            "CreateTable",
            "AccessDeniedException",
            message,
            "allow `dynamodb:CreateTable` for table.posts (app-posts)",
        );
        let encoded = "You are not authorized to perform this operation. Encoded authorization failure message: x";
        check("DescribeVpcs", "UnauthorizedOperation", encoded, "allow `DescribeVpcs` for table.posts");
        check("CreateBucket", "AccessDenied", "Access Denied", "another account's");
    }

    #[test]
    fn every_class_of_refusal_has_its_remedy() {
        let rows = [
            ("CreateRole", "LimitExceeded", "Cannot exceed RolesPerAccount: 1000", "Service Quotas"),
            ("CreateBucket", "TooManyBuckets", "You have attempted to create more buckets than allowed", "Quotas"),
            ("CreateTable", "LimitExceededException", "Subscriber limit exceeded", "Service Quotas"),
            ("GetFunction", "TooManyRequestsException", "Rate exceeded", "later"),
            ("CreateSecurityGroup", "OptInRequired", "You are not subscribed", "sign-up"),
            ("CreateAutoScalingGroup", "InsufficientInstanceCapacity", "none left", "`instance_type`"),
            ("CreateAutoScalingGroup", "ValidationError", "The image id '[ami-0]' does not exist", "leave it out"),
            ("CreateAutoScalingGroup", "InvalidAMIID.NotFound", "it does not exist", "leave it out"),
            ("CreateBucket", "BucketAlreadyExists", "it is not available", "another `name`"),
            ("DeleteSecurityGroup", "DependencyViolation", "it has a dependent object", "still uses table.posts"),
            ("UpdateTable", "ResourceInUseException", "it is being updated", "another change of table.posts"),
            ("CreateTable", "ValidationException", "One or more parameter values were invalid", "correct its entry"),
            ("CreateRole", "InvalidAction", "Could not find operation CreateRole", "no operation `CreateRole`"),
            ("GetFunction", "UnknownOperationException", "", "No entry of stack.yaml"),
            ("UpdateContinuousBackups", "HTTP 501", "Not Implemented", "AWS_ENDPOINT_URL"),
            ("PutBucketCors", "NotImplemented", "", "no operation `PutBucketCors`"),
            ("PutBucketCors", "HTTP 503", "", "the connection"),
            ("ListTables", "NotSignedIn", "the login has expired: run `aws sso login`", "then continues"),
            ("DescribeVpcs", "NoDefaultVpc", "us-east-1 has no default network", "create-default-vpc"),
            ("AssociateWebACL", "WAFInternalErrorException", "a system problem", "the connection"),
            ("ListBuckets", "NoConnection", "connection refused", "the connection"),
            ("ListBuckets", "NoConnection", "no credentials were given", "sign in"),
            ("ListBuckets", "ExpiredToken", "it has expired", "renew the credentials"),
        ];
        rows.iter().for_each(|(operation, code, message, expected)| check(operation, code, message, expected));
    }

    /// The remedy of a denial, to allow the call itself, would not help.
    #[test]
    fn a_key_that_cannot_be_used_has_a_remedy_of_its_own() {
        let key = "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012";
        let denied = format!(
            "User: x is not authorized to perform: kms:GenerateDataKey on resource: {key} because no identity-based policy \
             allows the kms:GenerateDataKey action"
        );
        let of_logs = "The specified KMS key does not exist or is not allowed to be used with Arn 'arn:aws:logs:x'";
        let (disabled, pending) = (format!("{key} is disabled."), format!("{key} is pending deletion."));
        let absent = format!("Key '{key}' does not exist");
        let of_lambda = "Lambda was unable to configure your environment variables because the KMS key is invalid for \
                         CreateGrant.";
        let unusable = "the table cannot be used in this state";
        let rows = [
            ("PutObject", "AccessDenied", denied.as_str(), "get-key-policy"),
            ("CreateTable", "AccessDeniedException", denied.as_str(), "in the policy of the key"),
            ("CreateLogGroup", "AccessDeniedException", of_logs, "`logs.REGION.amazonaws.com`"),
            ("AssociateKmsKey", "InvalidParameterException", of_logs, "correct `log_key`"),
            ("PutObject", "KMS.DisabledException", disabled.as_str(), "enable-key"),
            ("Invoke", "KMSDisabledException", disabled.as_str(), "enable-key"),
            ("PutObject", "KMS.KMSInvalidStateException", pending.as_str(), "cancel-key-deletion"),
            ("PutObject", "KMS.KMSInvalidStateException", "pending import", "describe-key"),
            ("Invoke", "KMSNotFoundException", absent.as_str(), "list-keys"),
            ("PutBucketEncryption", "KMS.NotFoundException", absent.as_str(), "list-keys"),
            ("CreateFunction", "InvalidParameterValueException", of_lambda, "`kms:CreateGrant`"),
            ("DescribeTable", "INACCESSIBLE_ENCRYPTION_CREDENTIALS", unusable, "seven days"),
            ("DescribeTable", "ARCHIVED", unusable, "list-backups"),
        ];
        rows.iter().for_each(|(operation, code, message, expected)| check(operation, code, message, expected));
    }

    #[test]
    fn the_number_of_executions_that_stay_unreserved_is_that_of_the_account() {
        let said = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                    below its minimum value of [10].";
        let code = "InvalidParameterValueException";
        check("PutFunctionConcurrency", code, said, ": 10 of the account's concurrent executions stay unreserved");
        let without = said.replace("[10]", "the account");
        check(
            "PutFunctionConcurrency",
            code,
            &without,
            ": some of the account's concurrent executions stay unreserved",
        );
    }

    #[test]
    fn an_unknown_refusal_has_no_remedy() {
        assert_eq!(remedy(&Fault::new("CreateTable", "Weather", "it rains"), None), None);
    }
}
