//! The rights that each command needs.

use std::collections::BTreeSet;

use super::{
    KINDS,
    On::*,
    Right,
    When::*,
    kinds::{CERTIFICATES, OfKind, RECORDS},
    right, right_when,
};
use crate::{
    config::{ChosenNetwork, Config, Store},
    engine::Inputs as _,
    page::Page,
};

/// The rights of a command.
#[derive(Debug)]
pub struct Needs {
    /// Its name.
    pub command: &'static str,
    /// Its operations on resources.
    deeds: &'static [Deed],
    /// The resources that it operates on.
    which: Which,
    /// The rights for everything else.
    parts: &'static [&'static [Part]],
}

/// An operation of a command on resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    List,
    Read,
    Loss,
    /// Adding only the ownership tags.
    Tag,
    Change,
    /// Removing what `stack.yaml` no longer describes.
    Tidy,
    /// Removing the whole stack.
    Remove,
}

/// The resources that a command deals with. Resources of every kind are listed, whatever `stack.yaml` describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// None.
    None,
    /// The resources that `stack.yaml` describes.
    Described,
    /// The resources that its outputs need.
    Outputs,
    /// The resources that the addresses of its services need.
    Addresses,
    /// The resources that the requests of `verify` need.
    Verified,
    /// The resources of every stack.
    OfAllStacks,
}

/// Rights that depend on what `stack.yaml` describes.
#[derive(Debug)]
struct Part {
    given: Given,
    rights: &'static [Right],
}

#[derive(Debug, Clone, Copy)]
enum Given {
    Always,
    Services,
    Functions,
    Buckets,
    Tables,
    /// Services in a network that `stack.yaml` names.
    NamedNetwork,
    /// A service with an internal load balancer in a network that `stack.yaml` names.
    InternalInNamedNetwork,
    /// Services in a network that is looked for: the default one, or one that the stack makes.
    FoundNetwork,
    /// Services in a network that the stack makes.
    OwnNetwork,
    /// A service without a load balancer.
    Direct,
    /// A service behind the load balancer of another one.
    Behind,
    /// A service that names its machine image.
    Image,
    /// A service with a domain.
    Domain,
    /// A service with a domain, for which a certificate is requested.
    Requested,
    /// A variable whose value is in Secrets Manager.
    Secrets,
    /// A variable whose value is in Parameter Store.
    Parameters,
    /// A function with a key.
    KeyOfFunction,
    /// A table with a key.
    KeyOfTable,
}

const fn part(given: Given, rights: &'static [Right]) -> Part {
    Part { given, rights }
}

const fn command(
    command: &'static str,
    deeds: &'static [Deed],
    which: Which,
    parts: &'static [&'static [Part]],
) -> Needs {
    Needs { command, deeds, which, parts }
}

/// A command that calls no AWS, or any AWS but the one on this machine.
const fn offline(name: &'static str) -> Needs {
    command(name, &[], Which::None, &[])
}

/// The network (`cloud/site.rs`).
const NETWORK: &[Right] = &[
    right("ec2:DescribeInstanceTypeOfferings", Any),
    right("ec2:DescribeSubnets", Any),
    right("ec2:DescribeVpcs", Any),
];

/// The blocks of a network that `stack.yaml` names, which an internal load balancer admits (`cloud/site/existing.rs`).
const BLOCKS: &[Right] = &[right("ec2:DescribeVpcs", Any)];

/// The elastic IP addresses of services (`kinds/elastic_address.rs`).
const ADDRESSES: &[Right] = &[right("ec2:DescribeAddresses", Any)];

/// The routes of a network that `stack.yaml` names (`cloud/site/existing.rs`).
const ROUTES: &[Right] = &[right("ec2:DescribeRouteTables", Any)];

/// The hosted zones that hold domains (`cloud/domains.rs`).
const DOMAINS: &[Right] = &[
    right("route53:GetHostedZone", Zones),
    right("route53:ListHostedZones", Any),
    right("route53:ListResourceRecordSets", Zones),
];

/// Finding and removing the certificate of a domain that `stack.yaml` no longer names (`kinds/certificate.rs`).
const FIND_CERTIFICATES: &[Right] = &[right("acm:DescribeCertificate", Certificates)];
const REMOVE_CERTIFICATES: &[Right] =
    &[right("acm:DescribeCertificate", Certificates), right_when("acm:DeleteCertificate", Certificates, Ours)];

/// Whether a rule sends requests to a service (`kinds/rule.rs`).
const RULES: &[Right] = &[right("elasticloadbalancing:DescribeRules", Any)];

/// Finding the rule of a service that `stack.yaml` no longer puts behind another one (`kinds/rule.rs`). Rules live inside
/// load balancers, which are listed anyway.
const FIND_RULES: &[Right] =
    &[right("elasticloadbalancing:DescribeListeners", Any), right("elasticloadbalancing:DescribeRules", Any)];

/// Removing the rule of a service that `stack.yaml` no longer puts behind another one (`kinds/rule.rs`).
const REMOVE_RULES: &[Right] = &[right("elasticloadbalancing:DeleteRule", Rules)];

/// Machine images named in `stack.yaml` (`commands/images.rs`).
const IMAGES: &[Right] = &[right("ec2:DescribeImages", Any)];

/// Whether stored values exist, and of which version they are (`cloud/stored_values.rs`). A secret that does not exist has
/// no ARN that a pattern could cover (docs/aws.md §23.1).
const STORED_SECRETS: &[Right] = &[right("secretsmanager:DescribeSecret", Any)];
const STORED_PARAMETERS: &[Right] = &[right("ssm:DescribeParameters", Any)];

/// Listing the secrets and parameters of stacks (`kinds/secret.rs`, `kinds/parameter.rs`).
const LIST_STORED: &[Right] = &[
    right("secretsmanager:ListSecrets", Any),
    right("ssm:DescribeParameters", Any),
    right("ssm:ListTagsForResource", Parameters),
];

/// Removing those of the stack.
const REMOVE_STORED: &[Right] = &[
    right_when("secretsmanager:DeleteSecret", Secrets, Ours),
    right("secretsmanager:DescribeSecret", Any),
    right("secretsmanager:ListSecrets", Any),
    right_when("ssm:DeleteParameter", Parameters, Ours),
    right("ssm:DescribeParameters", Any),
    right("ssm:ListTagsForResource", Parameters),
];

/// Setting values (`commands/secret.rs`). What another stack owns is neither changed nor taken over.
const SET_STORED: &[Right] = &[
    right_when("secretsmanager:CreateSecret", Secrets, New),
    right_when("secretsmanager:PutSecretValue", Secrets, Ours),
    right_when("secretsmanager:RestoreSecret", Secrets, Ours),
    right_when("secretsmanager:TagResource", Secrets, Taking),
    right_when("ssm:AddTagsToResource", Parameters, Taking),
    right_when("ssm:PutParameter", Parameters, OursOrFree),
];

/// Reading which values the releases in service use (`releases/stored_values.rs`).
const READERS: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("ec2:DescribeLaunchTemplateVersions", Any),
    right("lambda:GetFunctionConfiguration", Functions),
    right("lambda:ListFunctions", Any),
    right("lambda:ListTags", Functions),
];

/// Environments of functions with a key: Lambda returns them with the rights of the caller (docs/aws.md §7.1).
const READ_ENVIRONMENT: &[Right] = &[right_when("kms:Decrypt", Keys, Via("lambda"))];

/// Giving functions a key, and environments that it encrypts.
const ENCRYPT_ENVIRONMENT: &[Right] =
    &[right_when("kms:CreateGrant", Keys, Via("lambda")), right_when("kms:Encrypt", Keys, Via("lambda"))];

/// The rows of tables with a key, which are counted before a table is removed (docs/aws.md §5.2).
const READ_ROWS: &[Right] = &[right_when("kms:Decrypt", Keys, Via("dynamodb"))];

/// Giving tables a key.
const ENCRYPT_TABLE: &[Right] = &[
    right_when("kms:CreateGrant", Keys, Via("dynamodb")),
    right_when("kms:DescribeKey", Keys, Via("dynamodb")),
    right_when("kms:Encrypt", Keys, Via("dynamodb")),
    right_when("kms:GenerateDataKey", Keys, Via("dynamodb")),
    right_when("kms:ReEncryptFrom", Keys, Via("dynamodb")),
    right_when("kms:ReEncryptTo", Keys, Via("dynamodb")),
];

/// The lease (`cloud/lease.rs`). A conditional write needs `s3:GetObject`, and without `s3:ListBucket` a missing
/// object is a denial.
const LEASE: &[Right] = &[
    right("s3:DeleteObject", Lease),
    right("s3:GetObject", Lease),
    right("s3:ListBucket", Artifacts),
    right("s3:PutObject", Lease),
];

/// Waiting for healthy targets (`cloud/health.rs`).
const HEALTH: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeScalingActivities", Any),
    right("elasticloadbalancing:DescribeTargetHealth", Any),
];

/// The diagnosis of a service (`cloud/why/evidence.rs`, `cloud/why/service_log.rs`).
const WHY_SERVICES: &[Right] = &[
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
const WHY_FUNCTIONS: &[Right] = &[
    right("cloudwatch:GetMetricData", Any),
    right("lambda:GetFunctionConcurrency", Functions),
    right("lambda:GetFunctionConfiguration", Functions),
    right("lambda:GetPolicy", Functions),
    right("logs:DescribeLogStreams", LogGroups),
    right("logs:GetLogEvents", LogGroups),
    right("s3:GetBucketNotification", Buckets),
];

/// The state of a service (`cloud/status/services.rs`).
const STATUS_SERVICES: &[Right] = &[
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
const RELEASES: &[Right] = &[
    right("autoscaling:DescribeAutoScalingGroups", Any),
    right("autoscaling:DescribeInstanceRefreshes", Any),
    right("ec2:DescribeLaunchTemplateVersions", Any),
    right("ec2:DescribeLaunchTemplates", Any),
    right("s3:ListBucket", Artifacts),
];

/// Removing the programs of old releases (`commands/garbage_collection.rs`).
const GARBAGE_COLLECTION: &[Right] = &[right("s3:DeleteObject", Programs)];

/// The releases of a function (`releases/functions.rs`).
const FUNCTION_RELEASES: &[Right] = &[
    right("lambda:GetFunction", Functions),
    // Settings that versions do not include, and that stay as they are.
    right("lambda:GetFunctionEventInvokeConfig", Functions),
    right("lambda:ListTags", Functions),
    right("lambda:ListVersionsByFunction", Functions),
];

/// An earlier release of a function (`commands/rollback.rs`).
const RESTORE: &[Right] = &[
    right_when("iam:PassRole", Roles, PassedTo(&["lambda.amazonaws.com"])),
    right("lambda:UpdateFunctionCode", Functions),
    right("lambda:UpdateFunctionConfiguration", Functions),
];

/// A roll-out of an earlier release (`kinds/auto_scaling_group/roll_out.rs`).
const ROLL_OUT: &[Right] = &[
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
const PAUSE: &[Right] = &[
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
const TRIED_NETWORK: &[Right] =
    &[right_when("ec2:CreateTags", Networks, CreatedBy(&["CreateVpc"])), right_when("ec2:CreateVpc", Networks, New)];

/// Trials of creations (`commands/doctor/cloud.rs`), and quotas (`commands/doctor/quotas.rs`).
const DOCTOR: &[Right] = &[
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
const SIMULATE: &[Right] = &[right("iam:SimulatePrincipalPolicy", Any)];

/// The quota of tables, and that of concurrent executions.
const QUOTA_OF_TABLES: &[Right] = &[right("dynamodb:ListTables", Any), right("servicequotas:GetServiceQuota", Any)];
const QUOTA_OF_FUNCTIONS: &[Right] =
    &[right("lambda:GetAccountSettings", Any), right("lambda:GetFunctionConcurrency", Functions)];

/// The size of a stack (`kinds/bucket/emptying.rs`, `kinds/launch_template.rs`).
const SIZES: &[Right] = &[right("ec2:DescribeLaunchTemplateVersions", Any), right("s3:ListBucket", Buckets)];

const REGIONS: &[Right] = &[right("ec2:DescribeRegions", Any)];

use Deed::{Change, List, Loss, Read, Remove, Tag, Tidy};

/// The operations of `up` on resources.
const UP_DEEDS: &[Deed] = &[List, Read, Loss, Change, Tidy];

/// The permissions of every command that lays out the stack: for the default network, the domains of services, and what
/// is encrypted with keys.
const SITE: &[Part] = &[
    part(Given::FoundNetwork, NETWORK),
    part(Given::InternalInNamedNetwork, BLOCKS),
    part(Given::Domain, DOMAINS),
    part(Given::Requested, CERTIFICATES),
    part(Given::KeyOfFunction, READ_ENVIRONMENT),
    part(Given::KeyOfTable, READ_ROWS),
];

/// The permissions of commands that check a network that `stack.yaml` names.
const CHECKED: &[Part] = &[part(Given::NamedNetwork, NETWORK), part(Given::NamedNetwork, ROUTES)];

/// The other permissions of `up`.
const UP: &[Part] = &[
    part(Given::Image, IMAGES),
    part(Given::Secrets, STORED_SECRETS),
    part(Given::Parameters, STORED_PARAMETERS),
    part(Given::KeyOfFunction, ENCRYPT_ENVIRONMENT),
    part(Given::KeyOfTable, ENCRYPT_TABLE),
    part(Given::Always, LEASE),
    part(Given::Always, FIND_RULES),
    part(Given::Services, HEALTH),
    part(Given::Services, WHY_SERVICES),
    part(Given::Direct, ADDRESSES),
    part(Given::Services, GARBAGE_COLLECTION),
    part(Given::Services, REMOVE_CERTIFICATES),
    part(Given::Services, REMOVE_RULES),
];

/// The table, in the order of `deployer --help`. A command without a row, and a right that its command does not use, fail
/// `deployer/tests/permissions.rs`.
pub const COMMANDS: &[Needs] = &[
    command("up", UP_DEEDS, Which::Described, &[SITE, CHECKED, UP]),
    command(
        "plan",
        &[List, Read, Loss],
        Which::Described,
        &[
            SITE,
            CHECKED,
            &[
                part(Given::Image, IMAGES),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
                part(Given::Services, FIND_CERTIFICATES),
                part(Given::Always, FIND_RULES),
            ],
        ],
    ),
    command(
        "adopt",
        &[Read, Tag],
        Which::Described,
        &[
            SITE,
            CHECKED,
            &[
                part(Given::Image, IMAGES),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
            ],
        ],
    ),
    offline("cost"),
    command(
        "status",
        &[List, Read, Loss],
        Which::Described,
        &[
            SITE,
            &[
                part(Given::Services, STATUS_SERVICES),
                part(Given::Services, FIND_CERTIFICATES),
                part(Given::Always, FIND_RULES),
                part(Given::Functions, WHY_FUNCTIONS),
                part(Given::Buckets, &[right("s3:ListBucket", Buckets)]),
                part(Given::Tables, &[right("dynamodb:DescribeTable", Tables)]),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
            ],
        ],
    ),
    command(
        "why",
        &[],
        Which::None,
        &[
            SITE,
            &[
                part(Given::Services, WHY_SERVICES),
                part(Given::Direct, ADDRESSES),
                part(Given::Behind, RULES),
                part(Given::Functions, WHY_FUNCTIONS),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
            ],
        ],
    ),
    command(
        "history",
        &[],
        Which::None,
        &[SITE, &[part(Given::Services, RELEASES), part(Given::Functions, FUNCTION_RELEASES)]],
    ),
    command(
        "rollback",
        &[],
        Which::None,
        &[
            SITE,
            &[
                part(Given::Services, RELEASES),
                part(Given::Services, ROLL_OUT),
                part(Given::Always, LEASE),
                part(Given::Services, HEALTH),
                part(Given::Services, WHY_SERVICES),
                part(Given::Direct, ADDRESSES),
                part(Given::Behind, RULES),
                part(Given::Functions, FUNCTION_RELEASES),
                part(Given::Functions, RESTORE),
                part(Given::KeyOfFunction, ENCRYPT_ENVIRONMENT),
                // For earlier releases, whose values stack.yaml may no longer name.
                part(Given::Always, STORED_SECRETS),
                part(Given::Always, STORED_PARAMETERS),
            ],
        ],
    ),
    command(
        "pause",
        &[],
        Which::None,
        &[&[part(Given::Services, PAUSE), part(Given::Services, RECORDS), part(Given::Services, LEASE)]],
    ),
    command("resume", UP_DEEDS, Which::Described, &[SITE, CHECKED, UP]),
    command(
        "logs",
        &[],
        Which::None,
        &[&[
            part(Given::Functions, &[right("logs:FilterLogEvents", LogGroups)]),
            part(
                Given::Services,
                &[
                    right("logs:FilterLogEvents", LogGroups),
                    right("s3:GetObject", Reports),
                    right("s3:ListBucket", Artifacts),
                ],
            ),
        ]],
    ),
    command(
        "invoke",
        &[],
        Which::None,
        &[&[part(
            Given::Functions,
            &[
                right("lambda:GetFunction", Functions),
                right("lambda:InvokeFunction", Functions),
                right("lambda:ListTags", Functions),
                // For `--sample`.
                right("s3:GetObject", Objects),
            ],
        )]],
    ),
    command("open", &[Read], Which::Addresses, &[SITE]),
    command("verify", &[Read], Which::Verified, &[SITE]),
    command(
        "down",
        &[List, Read, Loss, Remove],
        Which::Described,
        &[
            SITE,
            &[
                part(Given::Always, LEASE),
                part(Given::Always, REMOVE_STORED),
                part(Given::Always, FIND_RULES),
                part(Given::Services, REMOVE_CERTIFICATES),
                part(Given::Services, REMOVE_RULES),
            ],
        ],
    ),
    command(
        "secret",
        &[],
        Which::None,
        &[&[
            part(Given::Always, SET_STORED),
            part(Given::Always, REMOVE_STORED),
            part(Given::Always, READERS),
            part(Given::KeyOfFunction, READ_ENVIRONMENT),
        ]],
    ),
    command("outputs", &[Read], Which::Outputs, &[SITE]),
    command(
        "export",
        &[List, Read],
        Which::Described,
        &[
            SITE,
            &[
                part(Given::Services, &[right("ec2:DescribeSecurityGroupRules", Any)]),
                part(Given::Always, FIND_RULES),
                part(Given::Always, LIST_STORED),
                part(Given::Always, STORED_SECRETS),
            ],
        ],
    ),
    command(
        "ls",
        &[List],
        Which::OfAllStacks,
        &[&[part(Given::Always, REGIONS), part(Given::Always, SIZES), part(Given::Always, LIST_STORED)]],
    ),
    offline("policy"),
    offline("schema"),
    command(
        "doctor",
        &[Read],
        Which::Described,
        &[
            SITE,
            CHECKED,
            &[
                part(Given::Always, REGIONS),
                part(Given::Always, SIMULATE),
                part(Given::Services, DOCTOR),
                part(Given::OwnNetwork, TRIED_NETWORK),
                part(Given::Tables, QUOTA_OF_TABLES),
                part(Given::Functions, QUOTA_OF_FUNCTIONS),
            ],
        ],
    ),
    offline("init"),
    offline("validate"),
    offline("graph"),
    offline("completions"),
    offline("man"),
    offline("local"),
];

impl Needs {
    /// Whether its rights are for every stack of the account, in every region.
    pub fn is_for_all_stacks(&self) -> bool {
        self.which == Which::OfAllStacks
    }

    /// Its rights for what `stack.yaml` describes.
    pub fn rights(&self, config: &Config, page: &Page) -> Vec<Right> {
        let kinds = self.which.kinds(page);
        let of_kind = |kind: &'static OfKind, deed: Deed| -> &'static [Right] {
            match deed {
                List => kind.list,
                _ if !kinds.contains(kind.kind) => &[],
                Read => kind.read,
                Loss => kind.loss,
                Tag => kind.tag,
                Change => kind.change,
                Tidy if kind.list.is_empty() => &[],
                Tidy | Remove => kind.remove,
            }
        };
        let deeds = KINDS.iter().flat_map(|kind| self.deeds.iter().flat_map(move |deed| of_kind(kind, *deed)));
        let parts =
            self.parts.iter().copied().flatten().filter(|part| part.given.holds(config)).flat_map(|part| part.rights);
        deeds.chain(parts).copied().collect()
    }
}

impl Which {
    fn kinds(self, page: &Page) -> BTreeSet<&'static str> {
        let stack = &page.stack;
        let nodes = match self {
            Which::None | Which::OfAllStacks => BTreeSet::new(),
            Which::Described => stack.all(),
            Which::Outputs => stack.with_needs(page.outputs.iter().flat_map(|(_, text)| text.needs())),
            Which::Verified => stack.with_needs(
                page.services
                    .iter()
                    .flat_map(|front| front.url.needs())
                    .chain(page.verify.values().flat_map(|wire| wire.needs())),
            ),
            Which::Addresses => stack.with_needs(page.services.iter().flat_map(|front| front.url.needs())),
        };
        let all = stack.dependencies();
        nodes.into_iter().map(|node| all[node].0.kind).collect()
    }
}

impl Given {
    fn holds(self, config: &Config) -> bool {
        match self {
            Given::Always => true,
            Given::Services => !config.services.is_empty(),
            Given::NamedNetwork => {
                !config.services.is_empty() && matches!(config.network, Some(ChosenNetwork::Existing(_)))
            }
            Given::InternalInNamedNetwork => {
                config.has_internal() && matches!(config.network, Some(ChosenNetwork::Existing(_)))
            }
            Given::FoundNetwork => {
                !config.services.is_empty() && !matches!(config.network, Some(ChosenNetwork::Existing(_)))
            }
            Given::OwnNetwork => !config.services.is_empty() && matches!(config.network, Some(ChosenNetwork::Own(_))),
            Given::Functions => !config.functions.is_empty(),
            Given::Buckets => !config.buckets.is_empty(),
            Given::Tables => !config.tables.is_empty(),
            Given::Domain => config.services.values().any(|service| service.domain.is_some()),
            Given::Requested => {
                config.services.values().any(|service| service.domain.is_some() && service.certificate.is_none())
            }
            Given::Behind => config.services.values().any(|service| service.behind.is_some()),
            Given::Secrets => config.holds(Store::Secret),
            Given::Parameters => config.holds(Store::Parameter),
            Given::Direct => config.services.values().any(|service| service.is_direct),
            Given::KeyOfFunction => config.functions.values().any(|function| function.key.is_some()),
            Given::KeyOfTable => config.tables.values().any(|table| table.key.is_some()),
            Given::Image => config.services.values().any(|service| service.image.is_some()),
        }
    }
}

/// The row of a command.
pub fn of_command(name: &str) -> Option<&'static Needs> {
    COMMANDS.iter().find(|needs| needs.command == name)
}
