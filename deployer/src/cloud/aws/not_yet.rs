//! Errors that mean "not yet" rather than "no".

use std::time::Duration;

use super::fault::means_absent;
use crate::engine::Retry;

/// An error that means "not yet" rather than "no".
struct NotYet {
    operation: &'static str,
    code: &'static str,
    message: &'static str,
    budget: Duration,
}

const fn not_yet(operation: &'static str, code: &'static str, message: &'static str, budget_s: u64) -> NotYet {
    NotYet { operation, code, message, budget: Duration::from_secs(budget_s) }
}

/// The eventual-consistency errors that no SDK retries, with Terraform's time limits (docs/aws.md §2.3). `*` matches
/// any operation.
const NOT_YET: &[NotYet] = &[
    not_yet("CreateFunction", "InvalidParameterValueException", "cannot be assumed by Lambda", 120),
    not_yet("CreateFunction", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("CreateFunction", "InvalidParameterValueException", "throttled by EC2", 660),
    not_yet("CreateFunction", "InvalidParameterValueException", "KMS key is invalid for CreateGrant", 120),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "throttled by EC2", 660),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "KMS key is invalid for CreateGrant", 120),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "cannot be assumed by Lambda", 120),
    not_yet("UpdateFunctionConfiguration", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("UpdateFunctionConfiguration", "ResourceConflictException", "", 600),
    not_yet("UpdateFunctionCode", "ResourceConflictException", "", 600),
    not_yet("PublishVersion", "ResourceConflictException", "", 600),
    not_yet("DeleteFunction", "ResourceConflictException", "", 600),
    not_yet("PutFunctionConcurrency", "ResourceConflictException", "", 300),
    not_yet("DeleteFunctionConcurrency", "ResourceConflictException", "", 300),
    not_yet("PutFunctionEventInvokeConfig", "ResourceConflictException", "", 300),
    not_yet("UpdateFunctionEventInvokeConfig", "ResourceConflictException", "", 300),
    not_yet("DeleteFunctionEventInvokeConfig", "ResourceConflictException", "", 300),
    // The role's policy, or the bucket, is not visible to Lambda yet.
    not_yet("PutFunctionEventInvokeConfig", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("UpdateFunctionEventInvokeConfig", "InvalidParameterValueException", "does not have permissions", 120),
    not_yet("PutFunctionEventInvokeConfig", "InvalidParameterValueException", "destination ARN", 120),
    not_yet("UpdateFunctionEventInvokeConfig", "InvalidParameterValueException", "destination ARN", 120),
    not_yet("AddPermission", "ResourceNotFoundException", "", 300),
    not_yet("AddPermission", "ResourceConflictException", "", 300),
    not_yet("RemovePermission", "ResourceConflictException", "", 300),
    not_yet("CreateFunction", "ResourceConflictException", "in progress", 600),
    not_yet("CreateRole", "MalformedPolicyDocument", "Invalid principal in policy", 120),
    not_yet("UpdateAssumeRolePolicy", "MalformedPolicyDocument", "Invalid principal in policy", 120),
    not_yet("*", "ConcurrentModification", "", 120),
    not_yet("PutRolePolicy", "NoSuchEntity", "", 120),
    not_yet("AddRoleToInstanceProfile", "InvalidParameterValue", "Invalid IAM Instance Profile name", 120),
    not_yet("AddRoleToInstanceProfile", "NoSuchEntity", "", 120),
    // It holds one role, and another one is removed first, so this is our own, not visible before (docs/aws.md §6.1).
    not_yet("AddRoleToInstanceProfile", "LimitExceeded", "", 60),
    not_yet("DeleteRole", "DeleteConflict", "", 120),
    not_yet("DeleteInstanceProfile", "DeleteConflict", "", 120),
    not_yet("CreateAutoScalingGroup", "ValidationError", "Invalid IAM Instance Profile", 120),
    not_yet("UpdateAutoScalingGroup", "ValidationError", "Invalid IAM Instance Profile", 120),
    not_yet("StartInstanceRefresh", "ValidationError", "Invalid IAM Instance Profile", 120),
    not_yet("StartInstanceRefresh", "InstanceRefreshInProgress", "", 900),
    not_yet("AttachLoadBalancerTargetGroups", "InstanceRefreshInProgress", "", 900),
    not_yet("DetachLoadBalancerTargetGroups", "InstanceRefreshInProgress", "", 900),
    not_yet("PutScalingPolicy", "ValidationError", "not found", 60),
    not_yet("CreateAutoScalingGroup", "AlreadyExists", "pending delete", 900),
    not_yet("CreateAutoScalingGroup", "ServiceLinkedRoleFailure", "", 120),
    not_yet("*", "ResourceContention", "", 120),
    not_yet("DeleteAutoScalingGroup", "ResourceInUse", "", 600),
    not_yet("*", "ScalingActivityInProgress", "", 600),
    not_yet("PutPublicAccessBlock", "NoSuchBucket", "", 120),
    not_yet("PutBucketOwnershipControls", "NoSuchBucket", "", 120),
    not_yet("PutBucketEncryption", "NoSuchBucket", "", 120),
    not_yet("PutBucketCors", "NoSuchBucket", "", 120),
    not_yet("PutBucketLifecycleConfiguration", "NoSuchBucket", "", 120),
    not_yet("PutBucketPolicy", "NoSuchBucket", "", 120),
    not_yet("PutBucketVersioning", "NoSuchBucket", "", 120),
    not_yet("PutBucketTagging", "NoSuchBucket", "", 120),
    not_yet("PutBucketNotificationConfiguration", "NoSuchBucket", "", 120),
    not_yet(
        "PutBucketNotificationConfiguration",
        "InvalidArgument",
        "Unable to validate the following destination",
        120,
    ),
    not_yet("PutObject", "NoSuchBucket", "", 120),
    not_yet("*", "OperationAborted", "", 300),
    not_yet("*", "OperationAbortedException", "", 60),
    not_yet("DeleteBucket", "BucketNotEmpty", "", 60),
    not_yet("CreateTable", "LimitExceededException", "simultaneously", 600),
    not_yet("UpdateContinuousBackups", "ContinuousBackupsUnavailableException", "", 1200),
    not_yet("UpdateTable", "ResourceInUseException", "", 600),
    not_yet("TagResource", "ResourceInUseException", "", 60),
    not_yet("DeleteTable", "ResourceInUseException", "being ", 600),
    not_yet("CreateListener", "CertificateNotFound", "", 300),
    not_yet("ModifyListener", "CertificateNotFound", "", 300),
    not_yet("CreateListener", "UnsupportedCertificate", "", 300),
    not_yet("ModifyListener", "UnsupportedCertificate", "", 300),
    // The load balancer uses it for some minutes after its listener is gone.
    not_yet("DeleteCertificate", "ResourceInUseException", "", 1200),
    not_yet("*", "RequestInProgressException", "", 60),
    // Another client has changed a record since it was read.
    not_yet("ChangeResourceRecordSets", "InvalidChangeBatch", "", 60),
    not_yet("ChangeResourceRecordSets", "PriorRequestNotComplete", "", 120),
    not_yet("DeleteTargetGroup", "ResourceInUse", "", 120),
    // The web ACL or the load balancer was created a moment ago (docs/aws.md §9.11).
    not_yet("*", "WAFUnavailableEntityException", "", 600),
    // The load balancer was deleted a moment ago, and the next read no longer finds it; or it was created a moment ago, and
    // WAF sees it as late as for `AssociateWebACL` (`kinds/load_balancer/web_acl.rs`).
    not_yet("GetWebACLForResource", "WAFNonexistentItemException", "", 600),
    not_yet("DisassociateWebACL", "WAFNonexistentItemException", "", 600),
    // The bucket's policy is not in force yet.
    not_yet("ModifyLoadBalancerAttributes", "InvalidConfigurationRequest", "Access Denied for bucket", 120),
    not_yet("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound", "", 60),
    // Another client was faster, or the rules were read too early.
    not_yet("AuthorizeSecurityGroupIngress", "InvalidPermission.Duplicate", "", 60),
    not_yet("AuthorizeSecurityGroupEgress", "InvalidGroup.NotFound", "", 60),
    not_yet("AuthorizeSecurityGroupEgress", "InvalidPermission.Duplicate", "", 60),
    not_yet("CreateTags", "InvalidGroup.NotFound", "", 60),
    // The load balancer's network interfaces outlive it, by up to 35 minutes (docs/aws.md §9.6).
    not_yet("DeleteSecurityGroup", "DependencyViolation", "", 2100),
    not_yet("DeleteSecurityGroup", "InvalidGroup.InUse", "", 2100),
    not_yet("DeleteSubnet", "DependencyViolation", "", 2100),
    not_yet("DetachInternetGateway", "DependencyViolation", "", 2100),
    // Its parts are removed first.
    not_yet("DeleteInternetGateway", "DependencyViolation", "", 120),
    not_yet("DeleteRouteTable", "DependencyViolation", "", 120),
    not_yet("DeleteVpc", "DependencyViolation", "", 300),
    // Made a moment ago, and not visible to every call.
    not_yet("*", "InvalidVpcID.NotFound", "", 60),
    not_yet("*", "InvalidSubnetID.NotFound", "", 60),
    not_yet("*", "InvalidInternetGatewayID.NotFound", "", 60),
    not_yet("*", "InvalidRouteTableID.NotFound", "", 60),
    not_yet("CreateRoute", "InvalidGatewayID.NotFound", "", 60),
    // Our own call, repeated because its answer was lost, and not visible yet.
    not_yet("AttachInternetGateway", "Resource.AlreadyAssociated", "", 60),
    not_yet("CreateRoute", "RouteAlreadyExists", "", 60),
    not_yet("CreateLoadBalancer", "InvalidSubnet", "has no internet gateway", 60),
    not_yet("CreateLoadBalancer", "SubnetNotFound", "", 60),
];

/// Errors of a create that mean "it exists": our read did not see it, so either of the two is outdated, or another
/// client was faster. The next read decides, and shows the owner (docs/aws.md §2.6).
const EXISTS: &[&str] = &[
    "BucketAlreadyOwnedByYou",
    "EntityAlreadyExists",
    "ResourceAlreadyExistsException",
    "AlreadyExists",
    "InvalidGroup.Duplicate",
    "InvalidSubnet.Conflict",
    "InvalidLaunchTemplateName.AlreadyExistsException",
    "DuplicateLoadBalancerName",
    "DuplicateTargetGroupName",
    "DuplicateListener",
    "PriorityInUse",
    "ResourceInUseException",
    "ResourceConflictException",
];

/// When one call of a read finds a resource and another does not, it is in transition: after this long both agree
/// (docs/aws.md §18).
const SEEN_BY_ALL_WITHIN: Duration = Duration::from_secs(30);

fn is_reading(operation: &str) -> bool {
    ["Describe", "Filter", "Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb))
}

pub(super) fn retry(operation: &str, code: &str, message: &str) -> Retry {
    // This error is permanent although it shares its code with "busy" (docs/aws.md §7.4).
    if message.contains("provided already exists") {
        return Retry::Never;
    }
    if operation.starts_with("Create") && EXISTS.contains(&code) && !message.contains("pending delete") {
        return Retry::Within(Duration::from_secs(120));
    }
    NOT_YET
        .iter()
        .find(|row| {
            (row.operation == "*" || row.operation == operation) && row.code == code && message.contains(row.message)
        })
        .map(|row| Retry::Within(row.budget))
        .unwrap_or(match is_reading(operation) && means_absent(code, message) {
            true => Retry::Within(SEEN_BY_ALL_WITHIN),
            false => Retry::Never,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_lambda_cannot_assume_yet_is_retried_for_two_minutes() {
        let text = "The role defined for the function cannot be assumed by Lambda.";
        let budget = Retry::Within(Duration::from_secs(120));
        assert_eq!(retry("CreateFunction", "InvalidParameterValueException", text), budget);
        assert_eq!(retry("CreateFunction", "InvalidParameterValueException", "bad handler"), Retry::Never);
    }

    #[test]
    fn a_resource_that_another_call_has_seen_is_looked_up_again() {
        let budget = Retry::Within(SEEN_BY_ALL_WITHIN);
        assert_eq!(retry("ListTagsOfResource", "ResourceNotFoundException", "no such table"), budget);
        assert_eq!(retry("DescribeTags", "TargetGroupNotFound", ""), budget);
        assert_eq!(retry("DescribePolicies", "ValidationError", "Group name not found"), budget);
        assert_eq!(retry("DescribePolicies", "AccessDenied", ""), Retry::Never);
        assert_eq!(retry("DeleteTable", "ResourceNotFoundException", ""), Retry::Never);
    }

    #[test]
    fn waf_is_given_the_same_time_by_each_call_for_a_load_balancer() {
        let budget = Retry::Within(Duration::from_secs(600));
        for operation in ["GetWebACLForResource", "DisassociateWebACL"] {
            assert_eq!(retry(operation, "WAFNonexistentItemException", ""), budget, "{operation}");
        }
        // Which of the two is absent, `kinds/load_balancer/web_acl.rs` finds out.
        assert_eq!(retry("AssociateWebACL", "WAFNonexistentItemException", ""), Retry::Never);
    }

    #[test]
    fn a_statement_that_exists_is_final() {
        let text = "The statement id (x) provided already exists.";
        assert_eq!(retry("AddPermission", "ResourceConflictException", text), Retry::Never);
    }
}
