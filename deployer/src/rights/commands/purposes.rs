//! Rights by purpose, of which the table of commands consists.

use crate::rights::{On::*, Right, When::*, right, right_when};

/// The network (`cloud/site.rs`).
pub(super) const NETWORK: &[Right] = &[
    right("ec2:DescribeInstanceTypeOfferings", Any),
    right("ec2:DescribeSubnets", Any),
    right("ec2:DescribeVpcs", Any),
];

/// The blocks of a network that `stack.yaml` names, which an internal load balancer admits (`cloud/site/existing.rs`).
pub(super) const BLOCKS: &[Right] = &[right("ec2:DescribeVpcs", Any)];

/// The elastic IP addresses of services (`kinds/elastic_address.rs`).
pub(super) const ADDRESSES: &[Right] = &[right("ec2:DescribeAddresses", Any)];

/// The routes of a network that `stack.yaml` names (`cloud/site/existing.rs`).
pub(super) const ROUTES: &[Right] = &[right("ec2:DescribeRouteTables", Any)];

/// The hosted zones that hold domains (`cloud/domains.rs`).
pub(super) const DOMAINS: &[Right] = &[
    right("route53:GetHostedZone", Zones),
    right("route53:ListHostedZones", Any),
    right("route53:ListResourceRecordSets", Zones),
];

/// Finding and removing the certificate of a domain that `stack.yaml` no longer names (`kinds/certificate.rs`).
pub(super) const FIND_CERTIFICATES: &[Right] = &[right("acm:DescribeCertificate", Certificates)];
pub(super) const REMOVE_CERTIFICATES: &[Right] =
    &[right("acm:DescribeCertificate", Certificates), right_when("acm:DeleteCertificate", Certificates, Ours)];

/// Whether a rule sends requests to a service (`kinds/rule.rs`).
pub(super) const RULES: &[Right] = &[right("elasticloadbalancing:DescribeRules", Any)];

/// Finding the rule of a service that `stack.yaml` no longer puts behind another one (`kinds/rule.rs`). Rules live inside
/// load balancers, which are listed anyway.
pub(super) const FIND_RULES: &[Right] =
    &[right("elasticloadbalancing:DescribeListeners", Any), right("elasticloadbalancing:DescribeRules", Any)];

/// Removing the rule of a service that `stack.yaml` no longer puts behind another one (`kinds/rule.rs`).
pub(super) const REMOVE_RULES: &[Right] = &[right("elasticloadbalancing:DeleteRule", Rules)];

/// Reading the web ACL of a load balancer (`kinds/load_balancer.rs`). WAF and Elastic Load Balancing check permissions of
/// their own (docs/aws.md §9.11).
pub(super) const READ_WEB_ACL: &[Right] = &[
    right("elasticloadbalancing:GetLoadBalancerWebACL", Balancers),
    right("wafv2:GetWebACL", WebAcls),
    right("wafv2:GetWebACLForResource", WebAcls),
];

/// Changing it. AWS documents the permission to disassociate for `*`; what it applies to is bounded by the permissions of
/// Elastic Load Balancing (docs/aws.md §9.11).
pub(super) const CHANGE_WEB_ACL: &[Right] = &[
    right("elasticloadbalancing:CreateWebACLAssociation", Balancers),
    right("elasticloadbalancing:DeleteWebACLAssociation", Balancers),
    right("elasticloadbalancing:SetWebAcl", Balancers),
    right("wafv2:AssociateWebACL", WebAcls),
    right("wafv2:DisassociateWebACL", Any),
];

/// Machine images named in `stack.yaml` (`commands/images.rs`).
pub(super) const IMAGES: &[Right] = &[right("ec2:DescribeImages", Any)];

/// Whether stored values exist, and of which version they are (`cloud/stored_values.rs`). A secret that does not exist has
/// no ARN that a pattern could cover (docs/aws.md §23.1).
pub(super) const STORED_SECRETS: &[Right] = &[right("secretsmanager:DescribeSecret", Any)];
pub(super) const STORED_PARAMETERS: &[Right] = &[right("ssm:DescribeParameters", Any)];

/// Listing the secrets and parameters of stacks (`kinds/secret.rs`, `kinds/parameter.rs`).
pub(super) const LIST_STORED: &[Right] = &[
    right("secretsmanager:ListSecrets", Any),
    right("ssm:DescribeParameters", Any),
    right("ssm:ListTagsForResource", Parameters),
];

/// Removing those of the stack.
pub(super) const REMOVE_STORED: &[Right] = &[
    right_when("secretsmanager:DeleteSecret", Secrets, Ours),
    right("secretsmanager:DescribeSecret", Any),
    right("secretsmanager:ListSecrets", Any),
    right_when("ssm:DeleteParameter", Parameters, Ours),
    right("ssm:DescribeParameters", Any),
    right("ssm:ListTagsForResource", Parameters),
];

/// Setting values (`commands/secret.rs`). What another stack owns is neither changed nor taken over.
pub(super) const SET_STORED: &[Right] = &[
    right_when("secretsmanager:CreateSecret", Secrets, New),
    right_when("secretsmanager:PutSecretValue", Secrets, Ours),
    right_when("secretsmanager:RestoreSecret", Secrets, Ours),
    right_when("secretsmanager:TagResource", Secrets, Taking),
    right_when("ssm:AddTagsToResource", Parameters, Taking),
    right_when("ssm:PutParameter", Parameters, OursOrFree),
];

/// Reading which values the releases in service use (`releases/stored_values.rs`).
pub(super) const READERS: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("ec2:DescribeLaunchTemplateVersions", Any),
    right("lambda:GetFunctionConfiguration", Functions),
    right("lambda:ListFunctions", Any),
    right("lambda:ListTags", Functions),
];

/// Environments of functions with a key: Lambda returns them with the rights of the caller (docs/aws.md §7.1).
pub(super) const READ_ENVIRONMENT: &[Right] = &[right_when("kms:Decrypt", Keys, Via("lambda"))];

/// Giving functions a key, and environments that it encrypts.
pub(super) const ENCRYPT_ENVIRONMENT: &[Right] =
    &[right_when("kms:CreateGrant", Keys, Via("lambda")), right_when("kms:Encrypt", Keys, Via("lambda"))];

/// The rows of tables with a key, which are counted before a table is removed (docs/aws.md §5.2).
pub(super) const READ_ROWS: &[Right] = &[right_when("kms:Decrypt", Keys, Via("dynamodb"))];

/// Giving tables a key.
pub(super) const ENCRYPT_TABLE: &[Right] = &[
    right_when("kms:CreateGrant", Keys, Via("dynamodb")),
    right_when("kms:DescribeKey", Keys, Via("dynamodb")),
    right_when("kms:Encrypt", Keys, Via("dynamodb")),
    right_when("kms:GenerateDataKey", Keys, Via("dynamodb")),
    right_when("kms:ReEncryptFrom", Keys, Via("dynamodb")),
    right_when("kms:ReEncryptTo", Keys, Via("dynamodb")),
];

/// The lease (`cloud/lease.rs`). A conditional write needs `s3:GetObject`, and without `s3:ListBucket` a missing
/// object is a denial.
pub(super) const LEASE: &[Right] = &[
    right("s3:DeleteObject", Lease),
    right("s3:GetObject", Lease),
    right("s3:ListBucket", Artifacts),
    right("s3:PutObject", Lease),
];

/// Waiting for healthy targets (`cloud/health.rs`).
pub(super) const HEALTH: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeScalingActivities", Any),
    right("elasticloadbalancing:DescribeTargetHealth", Any),
];

/// The diagnosis of a service (`cloud/why/evidence.rs`, `cloud/why/service_log.rs`).
pub(super) const WHY_SERVICES: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeInstanceRefreshes", Any),
    right("autoscaling:DescribeScalingActivities", Any),
    right("ec2:DescribeInstanceAttribute", Any),
    right("ec2:DescribeInstanceStatus", Any),
    right("ec2:DescribeInstances", Any),
    right("ec2:DescribeSecurityGroups", Any),
    right("ec2:GetConsoleOutput", Any),
    right("elasticloadbalancing:DescribeListeners", Any),
    right("elasticloadbalancing:DescribeLoadBalancers", Any),
    right("elasticloadbalancing:DescribeTargetGroups", Any),
    right("elasticloadbalancing:DescribeTargetHealth", Any),
    // Calls that AWS has denied to the service.
    right("logs:DescribeLogStreams", LogGroups),
    right("logs:GetLogEvents", LogGroups),
    // To check that the program exists, and to read the reports of instances.
    right("s3:GetObject", Programs),
    right("s3:GetObject", Reports),
    right("s3:ListBucket", Artifacts),
];

/// The diagnosis of a function (`cloud/why/functions.rs`, `cloud/why/measured.rs`).
pub(super) const WHY_FUNCTIONS: &[Right] = &[
    right("cloudwatch:GetMetricData", Any),
    right("lambda:GetFunctionConcurrency", Functions),
    right("lambda:GetFunctionConfiguration", Functions),
    right("lambda:GetPolicy", Functions),
    right("logs:DescribeLogStreams", LogGroups),
    right("logs:GetLogEvents", LogGroups),
    right("s3:GetBucketNotification", Buckets),
];

/// The state of a service (`cloud/status/services.rs`).
pub(super) const STATUS_SERVICES: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeScalingActivities", Any),
    right("ec2:DescribeInstances", Any),
    right("ec2:DescribeLaunchTemplateVersions", Any),
    right("elasticloadbalancing:DescribeListeners", Any),
    right("elasticloadbalancing:DescribeLoadBalancers", Any),
    right("elasticloadbalancing:DescribeTargetGroups", Any),
    right("elasticloadbalancing:DescribeTargetHealth", Any),
];

/// The releases of a service (`releases/`).
pub(super) const RELEASES: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeInstanceRefreshes", Any),
    right("ec2:DescribeLaunchTemplateVersions", Any),
    right("ec2:DescribeLaunchTemplates", Any),
    right("s3:ListBucket", Artifacts),
];

/// Removing the programs of old releases (`commands/garbage_collection.rs`).
pub(super) const GARBAGE_COLLECTION: &[Right] = &[right("s3:DeleteObject", Programs)];

/// The releases of a function (`releases/functions.rs`).
pub(super) const FUNCTION_RELEASES: &[Right] = &[
    right("lambda:GetFunction", Functions),
    // Settings that versions do not include, and that stay as they are.
    right("lambda:GetFunctionEventInvokeConfig", Functions),
    right("lambda:ListTags", Functions),
    right("lambda:ListVersionsByFunction", Functions),
];

/// An earlier release of a function (`commands/rollback.rs`).
pub(super) const RESTORE: &[Right] = &[
    right_when("iam:PassRole", Roles, PassedTo(&["lambda.amazonaws.com"])),
    right("lambda:UpdateFunctionCode", Functions),
    right("lambda:UpdateFunctionConfiguration", Functions),
];

/// A roll-out of an earlier release (`kinds/auto_scaling_group/roll_out.rs`).
pub(super) const ROLL_OUT: &[Right] = &[
    right("autoscaling:CancelInstanceRefresh", Groups),
    right("autoscaling:DescribeScheduledActions", Any),
    right("autoscaling:RollbackInstanceRefresh", Groups),
    right("autoscaling:StartInstanceRefresh", Groups),
    right_when("ec2:CreateTags", Launched, CreatedBy(&["RunInstances"])),
    right_when("ec2:RunInstances", Any, FromTemplate),
    right_when("iam:PassRole", Roles, PassedTo(&["ec2.amazonaws.com"])),
    right("s3:GetObject", Programs),
    right("s3:GetObject", Reports),
];

/// Emptying groups and removing load balancers (`commands/pause.rs`).
pub(super) const PAUSE: &[Right] = &[
    right("autoscaling:CreateOrUpdateTags", Groups),
    right("autoscaling:DeleteScheduledAction", Groups),
    right("autoscaling:DeleteTags", Groups),
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeScheduledActions", Any),
    right("autoscaling:UpdateAutoScalingGroup", Groups),
    right("elasticloadbalancing:DeleteLoadBalancer", Balancers),
    right("elasticloadbalancing:DescribeLoadBalancerAttributes", Any),
    right("elasticloadbalancing:DescribeLoadBalancers", Any),
    right("elasticloadbalancing:DescribeTags", Any),
];

/// The trial of a network that the stack makes (`commands/doctor/cloud.rs`).
pub(super) const TRIED_NETWORK: &[Right] =
    &[right_when("ec2:CreateTags", Networks, CreatedBy(&["CreateVpc"])), right_when("ec2:CreateVpc", Networks, New)];

/// Trials of creations (`commands/doctor/cloud.rs`), and quotas (`commands/doctor/quotas.rs`).
pub(super) const DOCTOR: &[Right] = &[
    right("autoscaling:DescribeAccountLimits", Any),
    right_when("ec2:CreateLaunchTemplate", Templates, New),
    right("ec2:CreateSecurityGroup", Networks),
    right_when("ec2:CreateSecurityGroup", SecurityGroups, New),
    right_when("ec2:CreateTags", SecurityGroups, CreatedBy(&["CreateSecurityGroup"])),
    right_when("ec2:CreateTags", Templates, CreatedBy(&["CreateLaunchTemplate"])),
    right("ec2:DescribeInstanceTypes", Any),
    right("ec2:DescribeSecurityGroups", Any),
    right("elasticloadbalancing:DescribeAccountLimits", Any),
    right("elasticloadbalancing:DescribeLoadBalancers", Any),
    right("elasticloadbalancing:DescribeTargetGroups", Any),
    right("servicequotas:GetServiceQuota", Any),
];

/// The policy simulator (`commands/doctor/rights.rs`), on the caller's own user or role, whose name is not known.
pub(super) const SIMULATE: &[Right] = &[right("iam:SimulatePrincipalPolicy", Any)];

/// The quota of tables, and that of concurrent executions.
pub(super) const QUOTA_OF_TABLES: &[Right] =
    &[right("dynamodb:ListTables", Any), right("servicequotas:GetServiceQuota", Any)];
pub(super) const QUOTA_OF_FUNCTIONS: &[Right] =
    &[right("lambda:GetAccountSettings", Any), right("lambda:GetFunctionConcurrency", Functions)];

/// The size of a stack (`kinds/bucket/emptying.rs`, `kinds/launch_template.rs`).
pub(super) const SIZES: &[Right] = &[right("ec2:DescribeLaunchTemplateVersions", Any), right("s3:ListBucket", Buckets)];

pub(super) const REGIONS: &[Right] = &[right("ec2:DescribeRegions", Any)];
