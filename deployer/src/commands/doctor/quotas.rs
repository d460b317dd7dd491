//! Checks of quotas: what exists and what `up` would create, against the account's limits (docs/aws.md §3.5 and §15).

use std::collections::BTreeMap;

use aws_sdk_ec2::types::InstanceType;
use futures::future::{FutureExt as _, LocalBoxFuture, join_all, try_join_all};

use super::{CheckResult, cloud::unchecked};
use crate::{
    cloud::{
        aws::{Aws, found, items},
        site::Site,
    },
    commands::{instance_types, offline_page},
    config::{ChosenNetwork, Config},
    engine::{Fault, Plan, Resource as _, Step},
    kinds::{
        auto_scaling_group::AutoScalingGroup, elastic_address::ElasticAddress, load_balancer::LoadBalancer,
        security_group::SecurityGroup, table::Table, target_group::TargetGroup, vpc::Vpc,
    },
    page::names::StackNames,
};

/// How many resources of each kind are to be created.
#[derive(Debug, Default)]
pub struct New(BTreeMap<&'static str, usize>);

impl New {
    /// Those that a plan creates.
    pub fn planned(plan: &Plan) -> New {
        New::of(plan.lines.iter().filter(|line| line.step == Step::Create).map(|line| line.address.kind))
    }

    /// All that `stack.yaml` describes, where it is not known what exists.
    pub fn described(config: &Config) -> New {
        New::of(offline_page(config).stack.dependencies().into_iter().map(|(address, _)| address.kind))
    }

    fn of(kinds: impl Iterator<Item = &'static str>) -> New {
        let mut all = BTreeMap::new();
        kinds.for_each(|kind| *all.entry(kind).or_default() += 1);
        New(all)
    }

    fn count(&self, kind: &str) -> usize {
        self.0.get(kind).copied().unwrap_or_default()
    }
}

/// The result of one check, or why it could not be made.
type Checked<'a> = LocalBoxFuture<'a, Result<CheckResult, Fault>>;

/// Compares the quotas of everything that `stack.yaml` describes.
pub async fn check(aws: &Aws, config: &Config, site: &Site, new: &New) -> Vec<CheckResult> {
    let has_services = !config.services.is_empty();
    let makes_network = has_services && matches!(config.network, Some(ChosenNetwork::Own(_)));
    let has_addresses = config.services.values().any(|service| service.is_direct);
    let names = StackNames::of(config, site);
    let all: Vec<(bool, &str, Checked<'_>)> = vec![
        (has_services, BALANCERS.subject, balancers(aws, new).boxed_local()),
        (has_services, TARGET_GROUPS.subject, target_groups(aws, new).boxed_local()),
        (has_services, GROUPS.subject, groups(aws, new).boxed_local()),
        (has_services, PROCESSORS, processors(aws, config).boxed_local()),
        (has_services, SECURITY_GROUPS.subject, security_groups(aws, new).boxed_local()),
        (has_addresses, ADDRESSES.subject, addresses(aws, new).boxed_local()),
        (makes_network, VPCS.subject, vpcs(aws, new).boxed_local()),
        (!config.tables.is_empty(), TABLES.subject, tables(aws, new).boxed_local()),
        (!config.functions.is_empty(), CONCURRENCY, concurrency(aws, config, &names).boxed_local()),
    ];
    let needed = all.into_iter().filter(|(is_needed, ..)| *is_needed);
    join_all(
        needed.map(
            |(_, subject, checked)| async move { checked.await.unwrap_or_else(|fault| unchecked(subject, &fault)) },
        ),
    )
    .await
}

/// A quota of the number of resources.
struct Quota {
    subject: &'static str,
    /// Its code in Service Quotas.
    code: &'static str,
}

const BALANCERS: Quota = Quota { subject: "quota of load balancers", code: "L-53DA6B97" };
const TARGET_GROUPS: Quota = Quota { subject: "quota of target groups", code: "L-B22855CB" };
const GROUPS: Quota = Quota { subject: "quota of Auto Scaling groups", code: "L-CDE20ADC" };
const SECURITY_GROUPS: Quota = Quota { subject: "quota of security groups", code: "L-E79EC296" };
const ADDRESSES: Quota = Quota { subject: "quota of elastic IP addresses", code: "L-0263D0A3" };
const VPCS: Quota = Quota { subject: "quota of VPCs", code: "L-F678F1CE" };
const TABLES: Quota = Quota { subject: "quota of tables", code: "L-F98FE922" };

impl Quota {
    /// Whether the new resources fit into the limit. An account that exceeds its limit keeps its resources.
    fn room(&self, there: usize, new: usize, limit: Option<usize>) -> CheckResult {
        let words = |limit: usize| format!("{there} of {limit} exist, {new} to create");
        match limit {
            Some(limit) if new > 0 && there + new > limit => {
                CheckResult::bad(self.subject, words(limit)).remedy(format!(
                    "remove some that are no longer needed, or request an increase (Service Quotas, {})",
                    self.code
                ))
            }
            Some(limit) => CheckResult::good(self.subject, words(limit)),
            None => CheckResult::unclear(self.subject, "not checked: AWS does not say how many there may be"),
        }
    }

    /// Reads the account's own value.
    async fn limit(&self, aws: &Aws, service: &str) -> Result<Option<usize>, Fault> {
        Ok(value(aws, service, self.code).await?.map(|value| value as usize))
    }
}

async fn value(aws: &Aws, service: &str, code: &str) -> Result<Option<f64>, Fault> {
    let answer = aws.quotas.get_service_quota().service_code(service).quota_code(code).send().await?;
    Ok(answer.quota().and_then(|quota| quota.value()))
}

/// The limit of Elastic Load Balancing with this name.
async fn balancing_limit(aws: &Aws, name: &str) -> Result<Option<usize>, Fault> {
    let limits = items(aws.elb.describe_account_limits().into_paginator().send()).await?;
    Ok(limits.iter().find(|limit| limit.name() == Some(name)).and_then(|limit| limit.max()?.parse().ok()))
}

async fn balancers(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let (limit, there) = futures::try_join!(
        balancing_limit(aws, "application-load-balancers"),
        items(aws.elb.describe_load_balancers().into_paginator().send())
    )?;
    let is_application = |one: &&aws_sdk_elasticloadbalancingv2::types::LoadBalancer| {
        one.r#type().is_some_and(|it| it.as_str() == "application")
    };
    Ok(BALANCERS.room(there.iter().filter(is_application).count(), new.count(LoadBalancer::KIND), limit))
}

async fn target_groups(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let (limit, there) = futures::try_join!(
        balancing_limit(aws, "target-groups"),
        items(aws.elb.describe_target_groups().into_paginator().send())
    )?;
    Ok(TARGET_GROUPS.room(there.len(), new.count(TargetGroup::KIND), limit))
}

async fn groups(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let limits = aws.autoscaling.describe_account_limits().send().await?;
    let count = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok());
    let there = count(limits.number_of_auto_scaling_groups()).unwrap_or_default();
    let limit = count(limits.max_number_of_auto_scaling_groups());
    Ok(GROUPS.room(there, new.count(AutoScalingGroup::KIND), limit))
}

async fn security_groups(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let there = items(aws.ec2.describe_security_groups().into_paginator().send());
    let (limit, there) = futures::try_join!(SECURITY_GROUPS.limit(aws, "vpc"), there)?;
    Ok(SECURITY_GROUPS.room(there.len(), new.count(SecurityGroup::KIND), limit))
}

async fn addresses(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let there = async { Ok::<_, Fault>(aws.ec2.describe_addresses().send().await?) };
    let (limit, there) = futures::try_join!(ADDRESSES.limit(aws, "ec2"), there)?;
    Ok(ADDRESSES.room(there.addresses().len(), new.count(ElasticAddress::KIND), limit))
}

async fn vpcs(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let there = items(aws.ec2.describe_vpcs().into_paginator().send());
    let (limit, there) = futures::try_join!(VPCS.limit(aws, "vpc"), there)?;
    Ok(VPCS.room(there.len(), new.count(Vpc::KIND), limit))
}

async fn tables(aws: &Aws, new: &New) -> Result<CheckResult, Fault> {
    let there = items(aws.dynamodb.list_tables().into_paginator().send());
    let (limit, there) = futures::try_join!(TABLES.limit(aws, "dynamodb"), there)?;
    Ok(TABLES.room(there.len(), new.count(Table::KIND), limit))
}

const CONCURRENCY: &str = "quota of concurrent executions";

/// How many concurrent executions stay unreserved; fewer if the account has fewer.
const LEAST_UNRESERVED: i32 = 100;

/// Compares what the functions reserve with what the account has left.
async fn concurrency(aws: &Aws, config: &Config, names: &StackNames) -> Result<CheckResult, Fault> {
    let there = config.functions.keys().map(|entry| async move {
        let call = aws.lambda.get_function_concurrency().function_name(names.plain(entry.as_str()));
        let answer = found(call.send().await)?;
        Ok::<_, Fault>(answer.and_then(|it| it.reserved_concurrent_executions()).unwrap_or_default())
    });
    let settings = async { Ok::<_, Fault>(aws.lambda.get_account_settings().send().await?) };
    let (settings, there) = futures::try_join!(settings, try_join_all(there))?;
    let wanted = config.functions.values().map(|function| i32::from(function.concurrency.unwrap_or_default())).sum();
    let limit = settings.account_limit();
    let limit =
        limit.and_then(|limit| Some((limit.concurrent_executions(), limit.unreserved_concurrent_executions()?)));
    Ok(reservations(limit, there.iter().sum(), wanted))
}

/// Whether the reservations of the functions fit: now `there`, then `wanted`. The limit has all concurrent executions of
/// the account, and those that are not reserved.
fn reservations(limit: Option<(i32, i32)>, there: i32, wanted: i32) -> CheckResult {
    let Some((all, unreserved)) = limit else {
        return CheckResult::unclear(CONCURRENCY, "not checked: AWS does not say how many there may be");
    };
    let (new, least) = ((wanted - there).max(0), LEAST_UNRESERVED.min(all));
    let words =
        format!("{} of {all} are reserved, {new} to reserve; {least} have to stay unreserved", all - unreserved);
    match new > 0 && unreserved - new < least {
        true => CheckResult::bad(CONCURRENCY, words)
            .remedy("lower `concurrency`, or request an increase (Service Quotas, L-B99A9384)"),
        false => CheckResult::good(CONCURRENCY, words),
    }
}

const PROCESSORS: &str = "quota of vCPUs";

/// What the groups need of the vCPU quotas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Processors {
    /// The vCPUs of the standard families, with the fewest instances.
    least: i32,
    /// The same with the most instances.
    most: i32,
    /// The most vCPUs of other families, whose quotas are not read.
    others: i32,
}

/// Compares the vCPUs of all instances with the quota of the standard families.
async fn processors(aws: &Aws, config: &Config) -> Result<CheckResult, Fault> {
    let types = instance_types(config).into_iter().map(|kind| InstanceType::from(kind.as_str())).collect();
    let (answer, quota) = futures::join!(
        aws.ec2.describe_instance_types().set_instance_types(Some(types)).send(),
        value(aws, "ec2", STANDARD_QUOTA),
    );
    let each: BTreeMap<String, i32> = answer?
        .instance_types()
        .iter()
        .filter_map(|kind| Some((kind.instance_type()?.as_str().to_owned(), kind.v_cpu_info()?.default_v_cpus()?)))
        .collect();
    let needs = config.services.values().map(|service| {
        let kind = service.instance_type.to_string();
        let each = each.get(&kind).copied().unwrap_or_default();
        let times = |count: u16| i32::from(count) * each;
        (kind, times(service.instances.min), times(service.instances.max))
    });
    Ok(needed(sum(&needs.collect::<Vec<_>>()), quota))
}

/// The quota for On-Demand instances of the standard families (docs/aws.md §3.5).
const STANDARD_QUOTA: &str = "L-1216C47A";

/// Adds up the vCPUs of instance types, each with its fewest and most.
fn sum(needs: &[(String, i32, i32)]) -> Processors {
    needs.iter().fold(Processors::default(), |all, (kind, least, most)| match is_standard(kind) {
        true => Processors { least: all.least + least, most: all.most + most, ..all },
        false => Processors { others: all.others + most, ..all },
    })
}

/// Whether the groups fit into the quota. Other instances of the account count against it as well; which of them will
/// still run is unknown.
fn needed(needs: Processors, quota: Result<Option<f64>, Fault>) -> CheckResult {
    const REMEDY: &str = "lower `instances`, or request an increase (Service Quotas, L-1216C47A)";
    let Processors { least, most, others } = needs;
    if others > 0 {
        let words = format!("not checked; {others} of up to {} vCPUs are not of standard families", most + others);
        return CheckResult::unclear(PROCESSORS, words);
    }
    match quota {
        Err(fault) => unchecked(PROCESSORS, &fault).remedy(format!(
            "compare the groups' {most} vCPUs with `aws service-quotas get-service-quota --service-code ec2 \
             --quota-code {STANDARD_QUOTA}`"
        )),
        Ok(None) => CheckResult::unclear(PROCESSORS, "not checked: AWS does not say how many there may be"),
        Ok(Some(quota)) if f64::from(least) > quota => {
            CheckResult::bad(PROCESSORS, format!("the groups need {least} vCPUs, more than the quota of {quota}"))
                .remedy(REMEDY)
        }
        Ok(Some(quota)) if f64::from(most) > quota => CheckResult::unclear(
            PROCESSORS,
            format!("{quota} are enough to begin, but the groups could not grow to {most}"),
        )
        .remedy(REMEDY),
        Ok(Some(quota)) => {
            CheckResult::good(PROCESSORS, format!("{quota} for On-Demand instances; the groups need up to {most}"))
        }
    }
}

/// Whether an instance type is of the families A, C, D, H, I, M, R, T and Z, such as `m5.large` and unlike `mac2.metal`.
fn is_standard(kind: &str) -> bool {
    let family = kind.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["a", "c", "d", "h", "i", "m", "r", "t", "z"].contains(&family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_beyond_the_limit_are_a_problem_only_if_there_are_new_ones() {
        for (there, new, limit, mark) in [
            (49, 1, Some(50), '✓'),
            (50, 1, Some(50), '✗'),
            (50, 0, Some(50), '✓'),
            (51, 0, Some(50), '✓'),
            (0, 1, None, '!'),
        ] {
            assert!(BALANCERS.room(there, new, limit).lines()[0].starts_with(mark), "{there} {new} {limit:?}");
        }
    }

    #[test]
    fn the_vcpus_of_the_standard_families_are_compared_with_their_quota() {
        let needs = |least, most, others| Processors { least, most, others };
        let quota = |vcpus: f64| Ok(Some(vcpus));
        let denied = || Err(Fault::new("GetServiceQuota", "AccessDeniedException", "no"));
        for (needs, quota, expected) in [
            (needs(2, 8, 0), quota(32.0), "✓ quota of vCPUs: 32 for On-Demand instances; the groups need up to 8"),
            (needs(2, 32, 0), quota(32.0), "✓ quota of vCPUs: 32 for On-Demand instances; the groups need up to 32"),
            (
                needs(2, 34, 0),
                quota(32.0),
                "! quota of vCPUs: 32 are enough to begin, but the groups could not grow to 34",
            ),
            (needs(2, 8, 0), quota(1.0), "✗ quota of vCPUs: the groups need 2 vCPUs, more than the quota of 1"),
            (needs(2, 8, 0), Ok(None), "! quota of vCPUs: not checked: AWS does not say how many there may be"),
            (needs(2, 8, 0), denied(), "! quota of vCPUs: not checked: AccessDeniedException: no (GetServiceQuota)"),
            (
                needs(2, 8, 96),
                quota(32.0),
                "! quota of vCPUs: not checked; 96 of up to 104 vCPUs are not of standard families",
            ),
        ] {
            let lines = super::needed(needs, quota).lines();
            assert_eq!(lines[0], expected);
            assert_eq!(
                lines.len() > 1,
                expected.contains("need 2") || expected.contains("grow") || expected.contains("Denied")
            );
        }
    }

    #[test]
    fn only_the_standard_families_share_a_quota() {
        let of = |kind: &str| sum(&[(kind.to_owned(), 2, 8)]);
        assert_eq!(of("c7gd.large"), Processors { least: 2, most: 8, others: 0 });
        assert_eq!(of("g5.xlarge"), Processors { least: 0, most: 0, others: 8 });
        for other in [
            "mac2.metal",
            "inf1.xlarge",
            "trn1.2xlarge",
            "dl1.24xlarge",
            "hpc7g.4xlarge",
            "u-6tb1.metal",
            "x1.32xlarge",
        ] {
            assert!(!is_standard(other), "{other}");
        }
    }

    #[test]
    fn reservations_leave_a_hundred_executions_unreserved() {
        for (limit, there, wanted, expected) in [
            (Some((1000, 1000)), 0, 900, "✓ quota of concurrent executions: 0 of 1000 are reserved, 900 to reserve; "),
            (Some((1000, 1000)), 0, 901, "✗ quota of concurrent executions: 0 of 1000 are reserved, 901 to reserve; "),
            (Some((1000, 100)), 900, 900, "✓ quota of concurrent executions: 900 of 1000 are reserved, 0 to reserve; "),
            (Some((1000, 100)), 20, 21, "✗ quota of concurrent executions: 900 of 1000 are reserved, 1 to reserve; "),
            (Some((1000, 50)), 20, 10, "✓ quota of concurrent executions: 950 of 1000 are reserved, 0 to reserve; "),
            (Some((10, 10)), 0, 0, "✓ quota of concurrent executions: 0 of 10 are reserved, 0 to reserve; 10 have"),
            (Some((10, 10)), 0, 1, "✗ quota of concurrent executions: 0 of 10 are reserved, 1 to reserve; 10 have"),
            (None, 0, 1, "! quota of concurrent executions: not checked: "),
        ] {
            let line = reservations(limit, there, wanted).lines().remove(0);
            assert!(line.starts_with(expected), "{limit:?} {there} {wanted}: {line}");
        }
    }
}
