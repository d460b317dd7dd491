//! The IAM permissions that each command needs: two tables, of kinds and of commands, and the policy documents that
//! derive from them.

mod commands;
mod document;
mod kinds;

pub use commands::{COMMANDS, Needs, of_command};
pub use document::{AuthorizationRequest, Document, LONGEST_MANAGED, documents, requests};
pub use kinds::KINDS;

use std::collections::BTreeSet;

use crate::cloud::partition;

/// An action, and where it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// Such as `s3:GetObject`.
    pub action: &'static str,
    /// The resources.
    pub on: On,
    /// The condition under which it is allowed.
    pub when: When,
}

/// An action on resources, without a condition.
const fn right(action: &'static str, on: On) -> Right {
    Right { action, on, when: When::Always }
}

/// An action that is allowed under a condition.
const fn right_when(action: &'static str, on: On, when: When) -> Right {
    Right { action, on, when }
}

/// The resources that a right is limited to. All names of a stack begin with its name (`page/names.rs`), so a pattern
/// covers what `stack.yaml` describes now and what it described before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// Every resource, because the action has no resource-level permissions.
    Any,
    /// The buckets.
    Buckets,
    /// The objects in the buckets.
    Objects,
    /// The artifact bucket.
    Artifacts,
    /// The programs in the artifact bucket.
    Programs,
    /// The reports of instances in the artifact bucket.
    Reports,
    /// The lease in the artifact bucket.
    Lease,
    /// The tables.
    Tables,
    /// The functions.
    Functions,
    /// The log groups.
    LogGroups,
    /// The list of log groups.
    AllLogGroups,
    /// The roles, or the existing one that `stack.yaml` names.
    Roles,
    /// Roles that do not exist: their paths are not known to IAM, so they are named without.
    AbsentRoles,
    /// The instance profiles.
    Profiles,
    /// Instance profiles that do not exist.
    AbsentProfiles,
    /// The alarms.
    Alarms,
    /// The Auto Scaling groups.
    Groups,
    /// The load balancers.
    Balancers,
    /// The target groups.
    TargetGroups,
    /// The listeners.
    Listeners,
    /// The rules of listeners.
    Rules,
    /// The certificates. Their ids are chosen by ACM.
    Certificates,
    /// The hosted zones, which are not ours.
    Zones,
    /// The launch templates. Their ids are chosen by EC2.
    Templates,
    /// The security groups. Their ids are chosen by EC2.
    SecurityGroups,
    /// The VPCs: those in which security groups are created, and those of stacks. Their ids are chosen by EC2.
    Networks,
    /// The elastic IP addresses. Their ids are chosen by EC2.
    Addresses,
    /// The network interfaces of instances, which have no tags of ours.
    Interfaces,
    /// The internet gateways. Their ids are chosen by EC2.
    Gateways,
    /// The route tables, likewise.
    RouteTables,
    /// The subnets, likewise.
    Subnets,
    /// The instances and volumes that a launch template tags.
    Launched,
    /// The secrets, whose names need not begin with the stack's.
    Secrets,
    /// The parameters, likewise.
    Parameters,
    /// The regional web ACLs of AWS WAF, which are not ours.
    WebAcls,
    /// The keys of KMS, which are not ours, and may be another account's.
    Keys,
}

/// A condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// None.
    Always,
    /// The resource has the stack's tag.
    Ours,
    /// The call gives the new resource the stack's tag.
    New,
    /// The resource has the stack's tag, or no stack's.
    OursOrFree,
    /// The call gives the stack's tag to a resource that has it, or no stack's.
    Taking,
    /// Instances are launched from a launch template.
    FromTemplate,
    /// The role is passed to these services.
    PassedTo(&'static [&'static str]),
    /// The service-linked role is of one of these services.
    LinkedTo(&'static [&'static str]),
    /// Tags are given by one of these calls, to what it creates.
    CreatedBy(&'static [&'static str]),
    /// A key is used by way of this service, such as `dynamodb`.
    Via(&'static str),
}

/// The names that the resources of a policy contain.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The stack's name; `None` for every stack of the account.
    pub stack: Option<String>,
    /// The account, or a placeholder.
    pub account: String,
    /// The region; `*` for all of them.
    pub region: String,
    /// The existing role that `stack.yaml` names.
    pub existing_role: Option<String>,
    /// The partition, such as `aws`.
    partition: &'static str,
}

impl Scope {
    /// The resources of a stack.
    pub fn of_stack(stack: &str, account: &str, region: &str, existing_role: Option<String>) -> Scope {
        Scope {
            stack: Some(stack.into()),
            account: account.into(),
            region: region.into(),
            existing_role,
            partition: partition::of(region),
        }
    }

    /// The resources of every stack of the account, in every region.
    #[must_use]
    pub fn of_all_stacks(&self) -> Scope {
        Scope { stack: None, region: "*".into(), existing_role: None, ..self.clone() }
    }
}

impl On {
    /// The ARNs, or patterns for them.
    pub fn arns(self, scope: &Scope) -> BTreeSet<String> {
        let Scope { stack: _, account, region, existing_role, partition } = scope;
        let arn = |service: &str, rest: &str| format!("arn:{partition}:{service}:{region}:{account}:{rest}");
        let iam = |rest: &str| format!("arn:{partition}:iam::{account}:{rest}");
        let s3 = |rest: String| format!("arn:{partition}:s3:::{rest}");
        let (stack, names) = match &scope.stack {
            Some(stack) => (stack.as_str(), format!("{stack}-*")),
            None => ("*", "*".to_owned()),
        };
        let artifacts = format!("{stack}-artifacts-{account}-{region}");
        // Those in the account's regional namespace end in `-an`.
        let buckets = if scope.stack.is_some() { format!("{names}-{account}-{region}*") } else { names.clone() };
        let all: Vec<String> = match self {
            On::Any => vec!["*".into()],
            On::Buckets => vec![s3(buckets)],
            On::Objects => vec![s3(format!("{buckets}/*"))],
            On::Artifacts => vec![s3(artifacts)],
            On::Programs => vec![s3(format!("{artifacts}/services/*"))],
            On::Reports => vec![s3(format!("{artifacts}/boot/*"))],
            On::Lease => vec![s3(format!("{artifacts}/deployer/lease"))],
            On::Tables => vec![arn("dynamodb", &format!("table/{names}"))],
            On::Functions => vec![arn("lambda", &format!("function:{names}"))],
            // With the streams, which are part of the ARN of a group in policies.
            On::LogGroups => vec![
                arn("logs", &format!("log-group:/aws/lambda/{names}")),
                arn("logs", &format!("log-group:/deployer/{stack}/*")),
            ],
            On::AllLogGroups => vec![arn("logs", "log-group:*")],
            On::Roles => vec![match existing_role {
                Some(role) => iam(&format!("role/{role}")),
                None => iam(&format!("role/deployer/{stack}/*")),
            }],
            On::AbsentRoles => vec![iam(&format!("role/{stack}-{region}-*"))],
            On::AbsentProfiles => vec![iam(&format!("instance-profile/{stack}-{region}-*"))],
            On::Profiles => vec![iam(&format!("instance-profile/deployer/{stack}/*"))],
            On::Alarms => vec![arn("cloudwatch", &format!("alarm:{names}"))],
            On::Groups => vec![arn("autoscaling", &format!("autoScalingGroup:*:autoScalingGroupName/{names}"))],
            On::Balancers => vec![arn("elasticloadbalancing", &format!("loadbalancer/app/{names}"))],
            On::TargetGroups => vec![arn("elasticloadbalancing", &format!("targetgroup/{names}"))],
            On::Listeners => vec![arn("elasticloadbalancing", &format!("listener/app/{names}"))],
            On::Rules => vec![arn("elasticloadbalancing", &format!("listener-rule/app/{names}"))],
            On::Certificates => vec![arn("acm", "certificate/*")],
            On::Zones => vec![format!("arn:{partition}:route53:::hostedzone/*")],
            On::Templates => vec![arn("ec2", "launch-template/*")],
            On::SecurityGroups => vec![arn("ec2", "security-group/*")],
            On::Networks => vec![arn("ec2", "vpc/*")],
            On::Addresses => vec![arn("ec2", "elastic-ip/*")],
            On::Interfaces => vec![arn("ec2", "network-interface/*")],
            On::Gateways => vec![arn("ec2", "internet-gateway/*")],
            On::RouteTables => vec![arn("ec2", "route-table/*")],
            On::Subnets => vec![arn("ec2", "subnet/*")],
            On::Secrets => vec![arn("secretsmanager", "secret:*")],
            On::Parameters => vec![arn("ssm", "parameter/*")],
            On::WebAcls => vec![arn("wafv2", "regional/webacl/*")],
            On::Keys => vec![format!("arn:{partition}:kms:{region}:*:key/*")],
            On::Launched => vec![arn("ec2", "instance/*"), arn("ec2", "volume/*")],
        };
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_follows_from_the_region() {
        let of = |region: &str| {
            let scope = Scope::of_stack("app", "123456789012", region, None);
            On::Tables.arns(&scope).into_iter().next().unwrap_or_default()
        };
        assert_eq!(of("eu-west-3"), "arn:aws:dynamodb:eu-west-3:123456789012:table/app-*");
        assert_eq!(of("cn-north-1"), "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/app-*");
        assert_eq!(of("us-gov-west-1"), "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/app-*");
    }
}
