//! The rights that each kind of resource needs.

mod network;

use super::{
    On::{self, *},
    Right,
    When::*,
    right, right_when,
};

/// The rights of a kind, by operation.
#[derive(Debug)]
pub struct OfKind {
    /// Its name, as in plans.
    pub kind: &'static str,
    /// Listing resources and reading their owners: to find those that `stack.yaml` no longer describes, and every
    /// stack.
    pub list: &'static [Right],
    /// Reading one.
    pub read: &'static [Right],
    /// Reading the data that a removal would lose.
    pub loss: &'static [Right],
    /// Adding ownership tags to an existing one. Empty for kinds without tags, and for kinds that are identified by these
    /// tags.
    pub tag: &'static [Right],
    /// Creating, changing and tagging one.
    pub change: &'static [Right],
    /// Removing one. Kinds without a list are removed with what they are part of, unless the whole stack is removed.
    pub remove: &'static [Right],
}

const EC2: &str = "ec2.amazonaws.com";
const LAMBDA: &str = "lambda.amazonaws.com";

/// Passing the role of a service or a function.
const fn pass_to(services: &'static [&'static str]) -> Right {
    right_when("iam:PassRole", Roles, PassedTo(services))
}

const CHANGE_RECORDS: Right = right("route53:ChangeResourceRecordSets", Zones);
const LIST_RECORDS: Right = right("route53:ListResourceRecordSets", Zones);
const LIST_ZONES: Right = right("route53:ListHostedZones", Any);

/// These rights, and those in [`RECORDS`].
macro_rules! and_records {
    ($($right:expr),* $(,)?) => { &[$($right,)* CHANGE_RECORDS, LIST_ZONES, LIST_RECORDS] };
}

/// Changing and finding the records of a domain.
pub const RECORDS: &[Right] = and_records![];

/// Reading certificates.
pub const CERTIFICATES: &[Right] = &[
    right("acm:DescribeCertificate", Certificates),
    right("acm:ListCertificates", Any),
    right("acm:ListTagsForCertificate", Certificates),
];

/// Reading the tags of something of Elastic Load Balancing.
const TAGS: Right = right("elasticloadbalancing:DescribeTags", Any);

const fn add_tags(on: On) -> Right {
    right("elasticloadbalancing:AddTags", on)
}

/// Tagging an EC2 resource, unless it has the tag of another stack.
const fn take_over_in_ec2(on: On) -> Right {
    right_when("ec2:CreateTags", on, OursOrFree)
}

/// The table. A kind without a row, and a right that its kind does not use, fail `deployer/tests/testsuite/permissions.rs`.
pub const KINDS: &[OfKind] = &[
    OfKind {
        kind: "alarm",
        list: &[right("cloudwatch:DescribeAlarms", Any), right("cloudwatch:ListTagsForResource", Alarms)],
        read: &[right("cloudwatch:DescribeAlarms", Any), right("cloudwatch:ListTagsForResource", Alarms)],
        loss: &[],
        tag: &[right("cloudwatch:TagResource", Alarms)],
        change: &[right("cloudwatch:PutMetricAlarm", Alarms), right("cloudwatch:TagResource", Alarms)],
        remove: &[right("cloudwatch:DeleteAlarms", Alarms)],
    },
    OfKind {
        kind: "alias",
        list: &[],
        read: &[
            // Whether a record leads to another load balancer of the stack.
            right("elasticloadbalancing:DescribeLoadBalancers", Any),
            TAGS,
            LIST_RECORDS,
        ],
        loss: &[],
        tag: &[],
        change: &[CHANGE_RECORDS],
        remove: &[CHANGE_RECORDS],
    },
    OfKind {
        kind: "artifact",
        list: &[],
        read: &[right("s3:GetObject", Programs), right("s3:ListBucket", Artifacts)],
        loss: &[],
        tag: &[],
        change: &[right("s3:PutObject", Programs)],
        remove: &[right("s3:DeleteObject", Programs)],
    },
    OfKind {
        kind: "auto_scaling_group",
        list: &[right("autoscaling:DescribeAutoScalingGroups", Any)],
        // Instances that outlive their group count as the group.
        read: &[
            right("autoscaling:DescribeAutoScalingGroups", Any),
            // Of a group that AWS ends at a time.
            right("autoscaling:DescribeScheduledActions", Any),
            right("ec2:DescribeInstances", Any),
        ],
        loss: &[],
        tag: &[right("autoscaling:CreateOrUpdateTags", Groups)],
        change: &[
            right("autoscaling:AttachLoadBalancerTargetGroups", Groups),
            right("autoscaling:CancelInstanceRefresh", Groups),
            right("autoscaling:CreateAutoScalingGroup", Groups),
            right("autoscaling:CreateOrUpdateTags", Groups),
            right("autoscaling:DeleteScheduledAction", Groups),
            right("autoscaling:DeleteTags", Groups),
            right("autoscaling:DescribeInstanceRefreshes", Any),
            right("autoscaling:DetachLoadBalancerTargetGroups", Groups),
            right("autoscaling:PutScheduledUpdateGroupAction", Groups),
            right("autoscaling:RollbackInstanceRefresh", Groups),
            right("autoscaling:StartInstanceRefresh", Groups),
            right("autoscaling:UpdateAutoScalingGroup", Groups),
            right_when("ec2:CreateTags", Launched, CreatedBy(&["RunInstances"])),
            right_when("ec2:RunInstances", Any, FromTemplate),
            pass_to(&[EC2]),
            right_when("iam:CreateServiceLinkedRole", Any, LinkedTo(&["autoscaling.amazonaws.com"])),
            // The reports of instances decide whether a roll-out is hopeless.
            right("s3:GetObject", Reports),
            right("s3:ListBucket", Artifacts),
        ],
        remove: &[right("autoscaling:DeleteAutoScalingGroup", Groups)],
    },
    OfKind {
        kind: "bucket",
        list: &[right("s3:GetBucketTagging", Buckets), right("s3:ListAllMyBuckets", Any)],
        read: &[
            right("s3:GetBucketCORS", Buckets),
            right("s3:GetBucketOwnershipControls", Buckets),
            right("s3:GetBucketPolicy", Buckets),
            right("s3:GetBucketPublicAccessBlock", Buckets),
            right("s3:GetBucketTagging", Buckets),
            right("s3:GetBucketVersioning", Buckets),
            right("s3:GetEncryptionConfiguration", Buckets),
            right("s3:GetLifecycleConfiguration", Buckets),
        ],
        loss: &[right("s3:ListBucketVersions", Buckets)],
        tag: &[right("s3:PutBucketTagging", Buckets)],
        change: &[
            right("s3:CreateBucket", Buckets),
            right("s3:PutBucketCORS", Buckets),
            right("s3:PutBucketOwnershipControls", Buckets),
            right("s3:PutBucketPolicy", Buckets),
            right("s3:PutBucketPublicAccessBlock", Buckets),
            right("s3:PutBucketTagging", Buckets),
            right("s3:PutBucketVersioning", Buckets),
            right("s3:PutEncryptionConfiguration", Buckets),
            right("s3:PutLifecycleConfiguration", Buckets),
            right("s3:TagResource", Buckets),
        ],
        remove: &[
            right("s3:AbortMultipartUpload", Objects),
            right("s3:DeleteBucket", Buckets),
            right("s3:DeleteObject", Objects),
            right("s3:DeleteObjectVersion", Objects),
            right("s3:ListBucketMultipartUploads", Buckets),
            right("s3:ListBucketVersions", Buckets),
            right("s3:PutBucketNotification", Buckets),
        ],
    },
    OfKind {
        kind: "certificate",
        list: &[right("acm:ListCertificates", Any), right("acm:ListTagsForCertificate", Certificates)],
        read: CERTIFICATES,
        loss: &[],
        tag: &[],
        change: &[
            right_when("acm:AddTagsToCertificate", Certificates, New),
            right_when("acm:AddTagsToCertificate", Certificates, Ours),
            right_when("acm:DeleteCertificate", Certificates, Ours),
            right_when("acm:RequestCertificate", Any, New),
        ],
        // Its validation record is removed first.
        remove: and_records![right_when("acm:DeleteCertificate", Certificates, Ours)],
    },
    OfKind {
        kind: "default_action",
        list: &[],
        read: &[right("elasticloadbalancing:DescribeListeners", Any)],
        loss: &[],
        tag: &[],
        change: &[right("elasticloadbalancing:ModifyListener", Listeners)],
        remove: &[],
    },
    OfKind {
        kind: "elastic_address",
        list: &[right("ec2:DescribeAddresses", Any)],
        read: &[right("ec2:DescribeAddresses", Any)],
        loss: &[],
        // It is identified by its tags.
        tag: &[],
        change: &[
            right_when("ec2:AllocateAddress", Addresses, New),
            right_when("ec2:CreateTags", Addresses, CreatedBy(&["AllocateAddress"])),
            right_when("ec2:CreateTags", Addresses, Ours),
            // One that was allocated twice.
            right_when("ec2:ReleaseAddress", Addresses, Ours),
        ],
        remove: &[
            right_when("ec2:DisassociateAddress", Addresses, Ours),
            // Both are needed, so that this one alone has no effect.
            right("ec2:DisassociateAddress", Interfaces),
            right_when("ec2:ReleaseAddress", Addresses, Ours),
        ],
    },
    OfKind {
        kind: "function",
        list: &[right("lambda:ListFunctions", Any), right("lambda:ListTags", Functions)],
        // Without `ListTags`, Lambda leaves the tags out (docs/aws.md §7.1).
        read: &[
            right("lambda:GetFunction", Functions),
            right("lambda:GetFunctionEventInvokeConfig", Functions),
            right("lambda:ListTags", Functions),
            right("lambda:ListVersionsByFunction", Functions),
        ],
        loss: &[],
        tag: &[right("lambda:TagResource", Functions)],
        change: &[
            pass_to(&[LAMBDA]),
            right("lambda:CreateFunction", Functions),
            // Versions older than the last five.
            right("lambda:DeleteFunction", Functions),
            right("lambda:DeleteFunctionConcurrency", Functions),
            right("lambda:DeleteFunctionEventInvokeConfig", Functions),
            right("lambda:PublishVersion", Functions),
            right("lambda:PutFunctionConcurrency", Functions),
            right("lambda:PutFunctionEventInvokeConfig", Functions),
            right("lambda:TagResource", Functions),
            right("lambda:UpdateFunctionCode", Functions),
            right("lambda:UpdateFunctionConfiguration", Functions),
            right("lambda:UpdateFunctionEventInvokeConfig", Functions),
        ],
        remove: &[right("lambda:DeleteFunction", Functions)],
    },
    OfKind {
        kind: "instance_profile",
        list: &[right("iam:GetInstanceProfile", Profiles), right("iam:ListInstanceProfiles", Any)],
        read: &[right("iam:GetInstanceProfile", AbsentProfiles), right("iam:GetInstanceProfile", Profiles)],
        loss: &[],
        tag: &[right("iam:TagInstanceProfile", Profiles)],
        change: &[
            right("iam:AddRoleToInstanceProfile", Profiles),
            right("iam:CreateInstanceProfile", Profiles),
            pass_to(&[EC2]),
            right("iam:RemoveRoleFromInstanceProfile", Profiles),
            right("iam:TagInstanceProfile", Profiles),
        ],
        remove: &[right("iam:DeleteInstanceProfile", Profiles), right("iam:RemoveRoleFromInstanceProfile", Profiles)],
    },
    network::INTERNET_GATEWAY,
    OfKind {
        kind: "launch_template",
        list: &[right("ec2:DescribeLaunchTemplates", Any)],
        read: &[right("ec2:DescribeLaunchTemplateVersions", Any), right("ec2:DescribeLaunchTemplates", Any)],
        loss: &[],
        tag: &[take_over_in_ec2(Templates)],
        change: &[
            right_when("ec2:CreateLaunchTemplate", Templates, New),
            right_when("ec2:CreateLaunchTemplateVersion", Templates, Ours),
            right_when("ec2:CreateTags", Templates, CreatedBy(&["CreateLaunchTemplate"])),
            right_when("ec2:CreateTags", Templates, Ours),
            right("ec2:DescribeImages", Any),
        ],
        remove: &[right_when("ec2:DeleteLaunchTemplate", Templates, Ours)],
    },
    OfKind {
        kind: "listener",
        list: &[],
        read: &[right("elasticloadbalancing:DescribeListeners", Any), TAGS],
        loss: &[],
        tag: &[add_tags(Listeners)],
        change: &[
            // For a new listener, AWS checks the permission on the load balancer (docs/aws.md §2.5).
            add_tags(Balancers),
            add_tags(Listeners),
            right("elasticloadbalancing:CreateListener", Balancers),
            // One for HTTPS that is no longer wanted.
            right("elasticloadbalancing:DeleteListener", Listeners),
            right("elasticloadbalancing:ModifyListener", Listeners),
        ],
        remove: &[right("elasticloadbalancing:DeleteListener", Listeners)],
    },
    OfKind {
        kind: "load_balancer",
        list: &[right("elasticloadbalancing:DescribeLoadBalancers", Any), TAGS],
        read: &[
            right("elasticloadbalancing:DescribeLoadBalancerAttributes", Any),
            right("elasticloadbalancing:DescribeLoadBalancers", Any),
            TAGS,
        ],
        loss: &[],
        tag: &[add_tags(Balancers)],
        // The records of a domain that no longer leads to it.
        change: and_records![
            add_tags(Balancers),
            right("elasticloadbalancing:CreateLoadBalancer", Balancers),
            right("elasticloadbalancing:ModifyLoadBalancerAttributes", Balancers),
            // Of a domain that no longer leads to it.
            right("elasticloadbalancing:RemoveTags", Balancers),
            right("elasticloadbalancing:SetSecurityGroups", Balancers),
            right("elasticloadbalancing:SetSubnets", Balancers),
            right_when("iam:CreateServiceLinkedRole", Any, LinkedTo(&["elasticloadbalancing.amazonaws.com"])),
        ],
        // The records that lead to it are removed first.
        remove: and_records![right("elasticloadbalancing:DeleteLoadBalancer", Balancers)],
    },
    OfKind {
        kind: "log_group",
        list: &[right("logs:DescribeLogGroups", AllLogGroups), right("logs:ListTagsForResource", LogGroups)],
        read: &[right("logs:DescribeLogGroups", AllLogGroups), right("logs:ListTagsForResource", LogGroups)],
        loss: &[],
        tag: &[right("logs:TagResource", LogGroups)],
        change: &[
            right("logs:AssociateKmsKey", LogGroups),
            right("logs:CreateLogGroup", LogGroups),
            right("logs:DeleteRetentionPolicy", LogGroups),
            right("logs:DisassociateKmsKey", LogGroups),
            right("logs:PutRetentionPolicy", LogGroups),
            right("logs:TagResource", LogGroups),
        ],
        remove: &[right("logs:DeleteLogGroup", LogGroups)],
    },
    OfKind {
        kind: "notification",
        list: &[],
        read: &[right("s3:GetBucketNotification", Buckets)],
        loss: &[],
        tag: &[],
        change: &[right("s3:PutBucketNotification", Buckets)],
        remove: &[right("s3:PutBucketNotification", Buckets)],
    },
    OfKind {
        kind: "permissions",
        list: &[],
        read: &[right("lambda:GetPolicy", Functions)],
        loss: &[],
        tag: &[],
        change: &[right("lambda:AddPermission", Functions), right("lambda:RemovePermission", Functions)],
        remove: &[right("lambda:RemovePermission", Functions)],
    },
    OfKind {
        kind: "role",
        list: &[right("iam:GetRole", Roles), right("iam:ListRoles", Any)],
        read: &[right("iam:GetRole", AbsentRoles), right("iam:GetRole", Roles), right("iam:GetRolePolicy", Roles)],
        loss: &[],
        // Roles made by other tools may have the default path: they are compared, but not taken over.
        tag: &[right("iam:GetRolePolicy", AbsentRoles), right("iam:TagRole", Roles)],
        change: &[
            right("iam:CreateRole", Roles),
            right("iam:PutRolePolicy", Roles),
            right("iam:TagRole", Roles),
            right("iam:UpdateAssumeRolePolicy", Roles),
        ],
        remove: &[
            right("iam:DeleteRole", Roles),
            right("iam:DeleteRolePolicy", Roles),
            right("iam:DetachRolePolicy", Roles),
            right("iam:ListAttachedRolePolicies", Roles),
            right("iam:ListInstanceProfilesForRole", Roles),
            right("iam:ListRolePolicies", Roles),
            right("iam:RemoveRoleFromInstanceProfile", Profiles),
        ],
    },
    network::ROUTE_TABLE,
    OfKind {
        kind: "rule",
        list: &[],
        read: &[right("elasticloadbalancing:DescribeRules", Any), TAGS],
        loss: &[],
        tag: &[add_tags(Rules)],
        change: &[
            // Of a new rule, the listener is asked (docs/aws.md §2.5).
            add_tags(Listeners),
            add_tags(Rules),
            right("elasticloadbalancing:CreateRule", Listeners),
            right("elasticloadbalancing:ModifyRule", Rules),
            right("elasticloadbalancing:SetRulePriorities", Rules),
        ],
        remove: &[right("elasticloadbalancing:DeleteRule", Rules)],
    },
    OfKind {
        kind: "rule_action",
        list: &[],
        read: &[right("elasticloadbalancing:DescribeRules", Any)],
        loss: &[],
        tag: &[],
        change: &[right("elasticloadbalancing:ModifyRule", Rules)],
        remove: &[],
    },
    OfKind {
        kind: "scaling_policy",
        list: &[],
        read: &[right("autoscaling:DescribePolicies", Any)],
        loss: &[],
        tag: &[],
        change: &[right("autoscaling:PutScalingPolicy", Groups)],
        remove: &[right("autoscaling:DeletePolicy", Groups)],
    },
    OfKind {
        kind: "security_group",
        list: &[right("ec2:DescribeSecurityGroups", Any)],
        read: &[right("ec2:DescribeSecurityGroups", Any)],
        loss: &[],
        tag: &[take_over_in_ec2(SecurityGroups)],
        change: &[
            right_when("ec2:AuthorizeSecurityGroupEgress", SecurityGroups, Ours),
            right_when("ec2:AuthorizeSecurityGroupIngress", SecurityGroups, Ours),
            right_when("ec2:CreateSecurityGroup", SecurityGroups, New),
            right("ec2:CreateSecurityGroup", Networks),
            right_when("ec2:CreateTags", SecurityGroups, CreatedBy(&["CreateSecurityGroup"])),
            right_when("ec2:CreateTags", SecurityGroups, Ours),
            right_when("ec2:RevokeSecurityGroupEgress", SecurityGroups, Ours),
            right_when("ec2:RevokeSecurityGroupIngress", SecurityGroups, Ours),
            right_when("ec2:UpdateSecurityGroupRuleDescriptionsEgress", SecurityGroups, Ours),
            right_when("ec2:UpdateSecurityGroupRuleDescriptionsIngress", SecurityGroups, Ours),
        ],
        // Rules that refer to each other are removed first.
        remove: &[
            right_when("ec2:DeleteSecurityGroup", SecurityGroups, Ours),
            right_when("ec2:RevokeSecurityGroupEgress", SecurityGroups, Ours),
            right_when("ec2:RevokeSecurityGroupIngress", SecurityGroups, Ours),
        ],
    },
    network::SUBNET,
    OfKind {
        kind: "table",
        list: &[
            right("dynamodb:DescribeTable", Tables),
            right("dynamodb:ListTables", Any),
            right("dynamodb:ListTagsOfResource", Tables),
        ],
        read: &[
            right("dynamodb:DescribeContinuousBackups", Tables),
            right("dynamodb:DescribeTable", Tables),
            right("dynamodb:DescribeTimeToLive", Tables),
            right("dynamodb:ListTagsOfResource", Tables),
        ],
        loss: &[right("dynamodb:Scan", Tables)],
        tag: &[right("dynamodb:TagResource", Tables)],
        change: &[
            right("dynamodb:CreateTable", Tables),
            right("dynamodb:TagResource", Tables),
            right("dynamodb:UpdateContinuousBackups", Tables),
            right("dynamodb:UpdateTable", Tables),
            right("dynamodb:UpdateTimeToLive", Tables),
        ],
        remove: &[right("dynamodb:DeleteTable", Tables)],
    },
    OfKind {
        kind: "target_group",
        list: &[TAGS, right("elasticloadbalancing:DescribeTargetGroups", Any)],
        read: &[
            TAGS,
            right("elasticloadbalancing:DescribeTargetGroupAttributes", Any),
            right("elasticloadbalancing:DescribeTargetGroups", Any),
        ],
        loss: &[],
        tag: &[add_tags(TargetGroups)],
        change: &[
            add_tags(TargetGroups),
            right("elasticloadbalancing:CreateTargetGroup", TargetGroups),
            right("elasticloadbalancing:ModifyTargetGroup", TargetGroups),
            right("elasticloadbalancing:ModifyTargetGroupAttributes", TargetGroups),
        ],
        remove: &[right("elasticloadbalancing:DeleteTargetGroup", TargetGroups)],
    },
    OfKind {
        kind: "validation_record",
        list: &[],
        read: &[right("acm:DescribeCertificate", Certificates), LIST_RECORDS],
        loss: &[],
        tag: &[],
        change: &[
            // That the record is ours.
            right_when("acm:AddTagsToCertificate", Certificates, Ours),
            CHANGE_RECORDS,
        ],
        remove: &[CHANGE_RECORDS],
    },
    network::VPC,
];
