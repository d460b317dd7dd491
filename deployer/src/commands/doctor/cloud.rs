//! Checks of AWS: credentials, region, network, rights and quotas. Every call reads or is a dry run.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_sdk_ec2::types::{InstanceType, RequestLaunchTemplateData, ResourceType};

use super::{Description, Finding};
use crate::{
    cloud::{
        aws::{Aws, items},
        domains::{Delegation, Domain, Misled},
        health, remedies, sign_in,
        site::{Network, Site},
    },
    commands::{
        Lookup, access, check_place,
        cli::Global,
        domains, in_account, instance_types,
        lab::{LAB, Room, introduction},
        pin_file,
    },
    config::Config,
    engine::{Fault, RESOURCE_TAG, Resource as _, STACK_TAG, Step, Tags},
    kinds::{artifact::Artifact, certificate::Progress, tags::ec2_specification},
    output::exit::Failure,
    package::programs::{Destination, Programs},
    page::{lay_out, names::Names},
};

/// The region to sign in to without `stack.yaml`.
const REGION: &str = "us-east-1";
/// Credentials that expire sooner may not last for the first `up`.
const SOON: Duration = Duration::from_secs(15 * 60);

pub async fn check(global: &Global, description: Option<&Description>) -> Vec<Finding> {
    let region = description.map(|(_, config)| config.region.as_str()).or(global.region.as_deref());
    let aws = match Aws::connect(&access(global, region.unwrap_or(REGION), None)).await {
        Ok(aws) => aws,
        Err(trouble) => return signed_out(&trouble.into()),
    };
    let site = match sign_in::identify(&aws).await {
        Ok(site) => site,
        Err(failure) => return signed_out(&failure),
    };
    let mut findings = vec![credentials(&aws, &site)];
    let Some((file, config)) = description else {
        findings.push(region_is_enabled(&aws).await);
        return findings;
    };
    let config = match in_account(config.clone(), &site) {
        Ok(config) => config,
        Err(failure) => {
            findings.push(Finding::of(LAB, &failure));
            return findings;
        }
    };
    let config = &config;
    findings.extend(lab(&aws, config).await);
    match check_place(config, &site, &pin_file(file, Destination::Aws), global.region.is_some()) {
        Ok(_) => findings.push(Finding::good("account", &site.account)),
        Err(failure) => findings.push(Finding::of("account", &failure)),
    }
    let (region, network, quotas) =
        futures::join!(region_is_enabled(&aws), network(&aws, config), quotas(&aws, config, &site));
    findings.push(region);
    let network = match network {
        Ok(network) => network,
        Err(failure) => {
            findings.push(Finding::of("network", &failure));
            findings.push(Finding::unclear("resources, rights", "not checked without a network"));
            findings.extend(quotas);
            return findings;
        }
    };
    findings.extend(network.iter().map(|network| found(network, config)));
    let has_resolvers = !aws.resolvers().await.is_empty();
    let domains = network.iter().flat_map(|network| network.domains.values());
    findings.extend(domains.map(|it| domain(it, has_resolvers)));
    let (existing, trials) =
        futures::join!(existing(&aws, config, &site, network.as_ref()), trials(&aws, config, &site, network.as_ref()));
    findings.push(existing);
    findings.extend(trials);
    findings.extend(quotas);
    findings
}

fn signed_out(failure: &Failure) -> Vec<Finding> {
    vec![Finding::of("credentials", failure), Finding::unclear("region, network, rights, quotas", "not checked")]
}

fn credentials(aws: &Aws, site: &Site) -> Finding {
    let Some(provider) = &aws.provider else { return Finding::good("credentials", &site.caller_arn) };
    let source = provider.source();
    let signed_in = format!("{} with {}", site.caller_arn, source.name());
    match provider.expires().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default()) {
        Some(left) if left < SOON => {
            Finding::unclear("credentials", format!("{signed_in}, only for {}", lasting(left))).remedy(source.renew())
        }
        Some(left) => Finding::good("credentials", format!("{signed_in}, for {}", lasting(left))),
        None if source.is_temporary() => {
            Finding::good("credentials", format!("{signed_in}; they are temporary, and their end is not known"))
        }
        None => Finding::good("credentials", signed_in),
    }
}

fn lasting(left: Duration) -> String {
    match left.as_secs() / 60 {
        minutes @ 0..60 => format!("{minutes} min"),
        minutes => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// The Learner Lab and its room for instances; nothing in other accounts.
async fn lab(aws: &Aws, config: &Config) -> Vec<Finding> {
    const SUBJECT: &str = "instances of the lab";
    let Some(words) = introduction(config) else { return Vec::new() };
    let (subject, words) = words.split_once(": ").unwrap_or(("account", &words));
    let room = match Room::of(aws, config).await {
        Ok(None) => None,
        Ok(Some(room)) if !room.is_enough() => Some(Finding::bad(SUBJECT, room.words()).remedy(room.remedy())),
        Ok(Some(room)) if !room.is_enough_to_roll_out() => {
            Some(Finding::unclear(SUBJECT, room.words()).remedy(room.remedy()))
        }
        Ok(Some(room)) => Some(Finding::good(SUBJECT, room.words())),
        Err(fault) => Some(unchecked(SUBJECT, &fault)),
    };
    std::iter::once(Finding::good(subject, words)).chain(room).collect()
}

/// A refused call that `up` does not need.
fn unchecked(subject: &str, fault: &Fault) -> Finding {
    let finding = Finding::unclear(subject, format!("not checked: {fault}"));
    match remedies::remedy(fault, Some(subject)) {
        Some(remedy) => finding.remedy(remedy),
        None => finding,
    }
}

async fn region_is_enabled(aws: &Aws) -> Finding {
    let ask = async {
        let call = aws.ec2.describe_regions().region_names(&aws.region).all_regions(true);
        Ok::<_, Fault>(call.send().await?)
    };
    match ask.await {
        Err(fault) => unchecked("region", &fault),
        Ok(answer) => match answer.regions().first().and_then(|region| region.opt_in_status()) {
            Some("not-opted-in") => Finding::bad("region", format!("{} is not enabled in this account", aws.region))
                .remedy(format!("enable it: `aws account enable-region --region-name {}`", aws.region)),
            _ => Finding::good("region", format!("{} is enabled", aws.region)),
        },
    }
}

/// The network of the services; `None` if there are none.
async fn network(aws: &Aws, config: &Config) -> Result<Option<Network>, Failure> {
    match config.services.is_empty() {
        true => Ok(None),
        false => {
            let network = Network::discover(aws, &instance_types(config), config.network.as_ref()).await?;
            Ok(Some(Network { domains: domains(aws, config, Lookup::Strict).await?, ..network }))
        }
    }
}

/// Whether the domain of a service can be served over HTTPS without entering records by hand.
fn domain(domain: &Domain, has_resolvers: bool) -> Finding {
    let Domain { name, zone, delegation, certificate } = domain;
    let subject = "domain";
    match (zone, delegation, certificate) {
        (_, _, Progress::Failed(reason)) => {
            Finding::bad(subject, format!("{name}: ACM did not issue its certificate: {reason}"))
                .remedy("`deployer up` requests another one")
        }
        (None, _, Progress::Issued) => {
            Finding::good(subject, format!("{name}: its certificate is issued; no hosted zone here holds it"))
        }
        (None, ..) => Finding::unclear(subject, format!("no public hosted zone of this account holds {name}"))
            .remedy("enter the records that `deployer up` prints where its DNS is managed"),
        (Some(zone), delegation, _) => match delegation.error(zone) {
            Some(Misled { error, remedy, servers }) => {
                let remedy = if servers.is_empty() { remedy } else { format!("{remedy}: {}", servers.join(", ")) };
                Finding::bad(subject, format!("{name}: {error}")).remedy(remedy)
            }
            None if *delegation == Delegation::Complete => {
                Finding::good(subject, format!("{name}: in hosted zone {}, which DNS leads to", zone.name))
            }
            None => {
                let dns = if has_resolvers { "no resolver answered" } else { "DNS was not queried" };
                Finding::good(subject, format!("{name}: in hosted zone {}; {dns}", zone.name))
            }
        },
    }
}

fn found(network: &Network, config: &Config) -> Finding {
    let zones: Vec<&str> = network.subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    let types = instance_types(config).into_iter().collect::<Vec<_>>().join(", ");
    Finding::good("network", format!("{}; {} offer {types}", network.vpc, zones.join(", ")))
}

/// Reads every resource, as `plan` does. This needs all rights to read, and finds names that are taken.
async fn existing(aws: &Aws, config: &Config, site: &Site, network: Option<&Network>) -> Finding {
    let page = lay_out(config, site, network, &Programs::none(), health::Wait::default());
    match page.stack.plan(aws, None).await {
        Ok(plan) => {
            // Without a build, the name of an uploaded program is not known.
            let known: Vec<_> = plan.lines.iter().filter(|line| line.address.kind != Artifact::KIND).collect();
            let there = known.iter().filter(|line| line.step != Step::Create).count();
            let count = format!("{there} of {} exist", known.len());
            Finding::good("resources", format!("{count} (programs not counted), and all can be read"))
        }
        Err(error) => Finding::of("resources", &Failure::from(error)),
    }
}

/// The calls that EC2 accepts as a dry run. No other service has dry runs.
async fn trials(aws: &Aws, config: &Config, site: &Site, network: Option<&Network>) -> Vec<Finding> {
    let names = Names::of(config, site);
    let first = network.zip(config.services.iter().next());
    let mut findings = Vec::new();
    if let Some((network, (entry, service))) = first {
        let tags = |address: String| -> Tags {
            let ours = [(STACK_TAG.to_owned(), config.name.to_string()), (RESOURCE_TAG.to_owned(), address)];
            config.tags.clone().into_iter().chain(ours).collect()
        };
        let group = aws
            .ec2
            .create_security_group()
            .dry_run(true)
            .group_name(names.plain(&format!("{entry}-lb")))
            .description("a trial")
            .vpc_id(&network.vpc)
            .tag_specifications(ec2_specification(
                ResourceType::SecurityGroup,
                &tags(format!("security_group.{entry}-lb")),
            ));
        let machine = InstanceType::from(service.instance_type.to_string().as_str());
        let template = aws
            .ec2
            .create_launch_template()
            .dry_run(true)
            .launch_template_name(names.plain(entry.as_str()))
            .launch_template_data(RequestLaunchTemplateData::builder().instance_type(machine).build())
            .tag_specifications(ec2_specification(
                ResourceType::LaunchTemplate,
                &tags(format!("launch_template.{entry}")),
            ));
        let (group, template) = futures::join!(async { group.send().await.map(drop).map_err(Fault::from) }, async {
            template.send().await.map(drop).map_err(Fault::from)
        });
        findings.push(tried("ec2:CreateSecurityGroup", group));
        findings.push(tried("ec2:CreateLaunchTemplate", template));
    }
    findings.push(Finding::unclear(
        "other rights to create and change",
        "not checked: they cannot be tried without a change",
    ));
    findings
}

/// The error codes of a dry run that is allowed (docs/aws.md §3.5).
const ALLOWED: &[&str] =
    &["DryRunOperation", "InvalidGroup.Duplicate", "InvalidLaunchTemplateName.AlreadyExistsException"];

fn tried(action: &str, result: Result<(), Fault>) -> Finding {
    let subject = format!("right to {action}");
    match result {
        Ok(()) => Finding::unclear(&subject, "not checked: the endpoint ignores DryRun"),
        Err(fault) if ALLOWED.contains(&fault.code.as_str()) => Finding::good(&subject, "allowed"),
        Err(fault) if remedies::is_denial(&fault) => Finding::of(&subject, &Failure::from(fault)),
        Err(fault) => unchecked(&subject, &fault),
    }
}

async fn quotas(aws: &Aws, config: &Config, site: &Site) -> Vec<Finding> {
    match config.services.is_empty() {
        true => Vec::new(),
        false => {
            let (balancers, processors) = futures::join!(balancers(aws, config, site), processors(aws, config));
            vec![
                balancers.unwrap_or_else(|fault| unchecked("quota of load balancers", &fault)),
                processors.unwrap_or_else(|fault| unchecked("quota of vCPUs", &fault)),
            ]
        }
    }
}

async fn balancers(aws: &Aws, config: &Config, site: &Site) -> Result<Finding, Fault> {
    const LIMIT: &str = "application-load-balancers";
    let (limits, there) = futures::try_join!(
        items(aws.elb.describe_account_limits().into_paginator().send()),
        items(aws.elb.describe_load_balancers().into_paginator().send())
    )?;
    let is_application = |one: &aws_sdk_elasticloadbalancingv2::types::LoadBalancer| {
        one.r#type().is_some_and(|it| it.as_str() == "application")
    };
    let there: Vec<&str> =
        there.iter().filter(|one| is_application(one)).filter_map(|it| it.load_balancer_name()).collect();
    let names = Names::of(config, site);
    let own = config.services.iter().filter(|(_, service)| service.behind.is_none());
    let new = own.filter(|(entry, _)| !there.contains(&names.plain(entry.as_str()).as_str())).count();
    let limit = limits.iter().find(|limit| limit.name() == Some(LIMIT)).and_then(|limit| limit.max()?.parse().ok());
    Ok(room(there.len(), new, limit))
}

/// Whether the new load balancers fit into the limit. An account that exceeds its limit keeps its load balancers.
fn room(there: usize, new: usize, limit: Option<usize>) -> Finding {
    const SUBJECT: &str = "quota of load balancers";
    let words = |limit: usize| format!("{there} of {limit} exist, {new} to create");
    match limit {
        Some(limit) if new > 0 && there + new > limit => Finding::bad(SUBJECT, words(limit))
            .remedy("remove load balancers that are no longer needed, or ask for more (Service Quotas, L-53DA6B97)"),
        Some(limit) => Finding::good(SUBJECT, words(limit)),
        None => Finding::unclear(SUBJECT, "not checked: AWS does not say how many there may be"),
    }
}

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
async fn processors(aws: &Aws, config: &Config) -> Result<Finding, Fault> {
    let types = instance_types(config).into_iter().map(|kind| InstanceType::from(kind.as_str())).collect();
    let (answer, quota) = futures::join!(
        aws.ec2.describe_instance_types().set_instance_types(Some(types)).send(),
        aws.quotas.get_service_quota().service_code("ec2").quota_code(STANDARD_QUOTA).send(),
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
    let quota = quota.map_err(Fault::from).map(|answer| answer.quota().and_then(|quota| quota.value()));
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
fn needed(needs: Processors, quota: Result<Option<f64>, Fault>) -> Finding {
    const SUBJECT: &str = "quota of vCPUs";
    const REMEDY: &str = "lower `instances`, or ask for more (Service Quotas, L-1216C47A)";
    let Processors { least, most, others } = needs;
    if others > 0 {
        let words = format!("not checked; {others} of up to {} vCPUs are not of standard families", most + others);
        return Finding::unclear(SUBJECT, words);
    }
    match quota {
        Err(fault) => unchecked(SUBJECT, &fault).remedy(format!(
            "compare the groups' {most} vCPUs with `aws service-quotas get-service-quota --service-code ec2 \
             --quota-code {STANDARD_QUOTA}`"
        )),
        Ok(None) => Finding::unclear(SUBJECT, "not checked: AWS does not say how many there may be"),
        Ok(Some(quota)) if f64::from(least) > quota => {
            Finding::bad(SUBJECT, format!("the groups need {least} vCPUs, more than the quota of {quota}"))
                .remedy(REMEDY)
        }
        Ok(Some(quota)) if f64::from(most) > quota => {
            Finding::unclear(SUBJECT, format!("{quota} are enough to begin, but the groups could not grow to {most}"))
                .remedy(REMEDY)
        }
        Ok(Some(quota)) => {
            Finding::good(SUBJECT, format!("{quota} for On-Demand instances; the groups need up to {most}"))
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
    fn a_trial_counts_as_allowed_only_if_aws_says_so() {
        let tried = |code: &str| tried("ec2:CreateX", Err(Fault::new("CreateX", code, "it says so"))).lines().remove(0);
        assert_eq!(tried("DryRunOperation"), "✓ right to ec2:CreateX: allowed");
        assert!(tried("UnauthorizedOperation").starts_with("✗ right to ec2:CreateX: "));
        assert!(tried("InternalError").starts_with("! right to ec2:CreateX: not checked: "));
    }

    #[test]
    fn load_balancers_beyond_the_limit_are_a_problem_only_if_there_are_new_ones() {
        for (there, new, limit, mark) in [
            (49, 1, Some(50), '✓'),
            (50, 1, Some(50), '✗'),
            (50, 0, Some(50), '✓'),
            (51, 0, Some(50), '✓'),
            (0, 1, None, '!'),
        ] {
            assert!(room(there, new, limit).lines()[0].starts_with(mark), "{there} {new} {limit:?}");
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
    fn the_time_left_is_shown_in_hours_and_minutes() {
        let shown = |minutes: u64| lasting(Duration::from_secs(minutes * 60 + 30));
        assert_eq!([shown(0), shown(59), shown(60), shown(135)], ["0 min", "59 min", "1 h 0 min", "2 h 15 min"]);
    }
}
