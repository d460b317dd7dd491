//! Checks of AWS: credentials, region, network and rights. Every call reads or is a dry run.

use std::time::{Duration, SystemTime};

use aws_sdk_ec2::types::{InstanceType, RequestLaunchTemplateData, ResourceType};

use super::{
    CheckResult, Description,
    quotas::{self, New},
    rights,
};
use crate::{
    cloud::{
        aws::Aws,
        domains::{Delegation, Domain, Misled},
        health, remedies, sign_in,
        site::{Network, Site},
    },
    commands::{
        Lookup, check_place,
        cli::Global,
        connect_options, domains, in_account, instance_types,
        lab::{LAB, Room, introduction},
        pin_file,
    },
    config::Config,
    engine::{Fault, RESOURCE_TAG, Resource as _, STACK_TAG, Step, Tags},
    kinds::{artifact::Artifact, certificate::Issuance, tags::ec2_specification},
    output::exit::Failure,
    package::programs::{Destination, Programs},
    page::{lay_out, names::StackNames},
};

/// The region to sign in to without `stack.yaml`.
const REGION: &str = "us-east-1";
/// Credentials that expire sooner may not last for the first `up`.
const SOON: Duration = Duration::from_secs(15 * 60);

pub async fn check(global: &Global, description: Option<&Description>) -> Vec<CheckResult> {
    let region = description.map(|(_, config)| config.region.as_str()).or(global.region.as_deref());
    let aws = match Aws::connect(&connect_options(global, region.unwrap_or(REGION), None)).await {
        Ok(aws) => aws,
        Err(trouble) => return signed_out(&trouble.into()),
    };
    let site = match sign_in::identify(&aws).await {
        Ok(site) => site,
        Err(failure) => return signed_out(&failure),
    };
    let mut results = vec![credentials(&aws, &site)];
    let Some((file, config)) = description else {
        results.push(region_is_enabled(&aws).await);
        return results;
    };
    let config = match in_account(config.clone(), &site) {
        Ok(config) => config,
        Err(failure) => {
            results.push(CheckResult::of(LAB, &failure));
            return results;
        }
    };
    let config = &config;
    results.extend(lab(&aws, config).await);
    match check_place(config, &site, &pin_file(file, Destination::Aws), global.region.is_some()) {
        Ok(_) => results.push(CheckResult::good("account", &site.account)),
        Err(failure) => results.push(CheckResult::of("account", &failure)),
    }
    let (region, network) = futures::join!(region_is_enabled(&aws), network(&aws, config));
    results.push(region);
    let network = match network {
        Ok(network) => network,
        Err(failure) => {
            results.push(CheckResult::of("network", &failure));
            results.push(CheckResult::unclear("resources, permissions", "not checked without a network"));
            results.extend(quotas::check(&aws, config, &site, &New::described(config)).await);
            return results;
        }
    };
    results.extend(network.iter().map(|network| found(network, config)));
    let has_resolvers = !aws.resolvers().await.is_empty();
    let domains = network.iter().flat_map(|network| network.domains.values());
    results.extend(domains.map(|it| domain(it, has_resolvers)));
    let ((existing, new), trials, rights) = futures::join!(
        existing(&aws, config, &site, network.as_ref()),
        trials(&aws, config, &site, network.as_ref()),
        rights::check(&aws, config, &site)
    );
    results.push(existing);
    results.extend(trials);
    results.extend(rights.unwrap_or_else(|fault| vec![unchecked(rights::SUBJECT, &fault)]));
    results.extend(quotas::check(&aws, config, &site, &new).await);
    results
}

fn signed_out(failure: &Failure) -> Vec<CheckResult> {
    vec![
        CheckResult::of("credentials", failure),
        CheckResult::unclear("region, network, permissions, quotas", "not checked"),
    ]
}

fn credentials(aws: &Aws, site: &Site) -> CheckResult {
    let Some(provider) = &aws.provider else { return CheckResult::good("credentials", &site.caller_arn) };
    let source = provider.source();
    let signed_in = format!("{} with {}", site.caller_arn, source.name());
    match provider.expires().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default()) {
        Some(left) if left < SOON => {
            CheckResult::unclear("credentials", format!("{signed_in}, only for {}", lasting(left)))
                .remedy(source.renew())
        }
        Some(left) => CheckResult::good("credentials", format!("{signed_in}, for {}", lasting(left))),
        None if source.is_temporary() => {
            CheckResult::good("credentials", format!("{signed_in}; they are temporary, and their end is not known"))
        }
        None => CheckResult::good("credentials", signed_in),
    }
}

fn lasting(left: Duration) -> String {
    match left.as_secs() / 60 {
        minutes @ 0..60 => format!("{minutes} min"),
        minutes => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// The Learner Lab and its room for instances; nothing in other accounts.
async fn lab(aws: &Aws, config: &Config) -> Vec<CheckResult> {
    const SUBJECT: &str = "instances of the lab";
    let Some(words) = introduction(config) else { return Vec::new() };
    let (subject, words) = words.split_once(": ").unwrap_or(("account", &words));
    let room = match Room::of(aws, config).await {
        Ok(None) => None,
        Ok(Some(room)) if !room.is_enough() => Some(CheckResult::bad(SUBJECT, room.words()).remedy(room.remedy())),
        Ok(Some(room)) if !room.is_enough_to_roll_out() => {
            Some(CheckResult::unclear(SUBJECT, room.words()).remedy(room.remedy()))
        }
        Ok(Some(room)) => Some(CheckResult::good(SUBJECT, room.words())),
        Err(fault) => Some(unchecked(SUBJECT, &fault)),
    };
    std::iter::once(CheckResult::good(subject, words)).chain(room).collect()
}

/// A refused call that `up` does not need.
pub(super) fn unchecked(subject: &str, fault: &Fault) -> CheckResult {
    let result = CheckResult::unclear(subject, format!("not checked: {fault}"));
    match remedies::remedy(fault, Some(subject)) {
        Some(remedy) => result.remedy(remedy),
        None => result,
    }
}

async fn region_is_enabled(aws: &Aws) -> CheckResult {
    let ask = async {
        let call = aws.ec2.describe_regions().region_names(&aws.region).all_regions(true);
        Ok::<_, Fault>(call.send().await?)
    };
    match ask.await {
        Err(fault) => unchecked("region", &fault),
        Ok(answer) => match answer.regions().first().and_then(|region| region.opt_in_status()) {
            Some("not-opted-in") => {
                CheckResult::bad("region", format!("{} is not enabled in this account", aws.region))
                    .remedy(format!("enable it: `aws account enable-region --region-name {}`", aws.region))
            }
            _ => CheckResult::good("region", format!("{} is enabled", aws.region)),
        },
    }
}

/// The network of the services; `None` if there are none.
async fn network(aws: &Aws, config: &Config) -> Result<Option<Network>, Failure> {
    match config.services.is_empty() {
        true => Ok(None),
        false => {
            let (types, stack) = (instance_types(config), config.name.as_str());
            let network = Network::discover(aws, &types, stack, config.network.as_ref()).await?;
            network.check_zones(&aws.region)?;
            Ok(Some(Network { domains: domains(aws, config, Lookup::Strict).await?, ..network }))
        }
    }
}

/// Whether the domain of a service can be served over HTTPS without entering records by hand.
fn domain(domain: &Domain, has_resolvers: bool) -> CheckResult {
    let Domain { name, zone, delegation, certificate } = domain;
    let subject = "domain";
    match (zone, delegation, certificate) {
        (_, _, Issuance::Failed(reason)) => {
            CheckResult::bad(subject, format!("{name}: ACM did not issue its certificate: {reason}"))
                .remedy("`deployer up` requests another one")
        }
        (None, _, Issuance::Issued) => {
            CheckResult::good(subject, format!("{name}: its certificate is issued; no hosted zone here holds it"))
        }
        (None, ..) => CheckResult::unclear(subject, format!("no public hosted zone of this account holds {name}"))
            .remedy("enter the records that `deployer up` prints where its DNS is managed"),
        (Some(zone), delegation, _) => match delegation.error(zone) {
            Some(Misled { error, remedy, servers }) => {
                let remedy = if servers.is_empty() { remedy } else { format!("{remedy}: {}", servers.join(", ")) };
                CheckResult::bad(subject, format!("{name}: {error}")).remedy(remedy)
            }
            None if *delegation == Delegation::Complete => {
                CheckResult::good(subject, format!("{name}: in hosted zone {}, which DNS leads to", zone.name))
            }
            None => {
                let dns = if has_resolvers { "no resolver answered" } else { "DNS was not queried" };
                CheckResult::good(subject, format!("{name}: in hosted zone {}; {dns}", zone.name))
            }
        },
    }
}

fn found(network: &Network, config: &Config) -> CheckResult {
    let zones: Vec<&str> = network.subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    let types = instance_types(config).into_iter().collect::<Vec<_>>().join(", ");
    let vpc = if network.vpc.is_empty() { "to be made" } else { &network.vpc };
    CheckResult::good("network", format!("{vpc}; {} offer {types}", zones.join(", ")))
}

/// Reads every resource, as `plan` does. This needs all rights to read, and finds names that are taken. Returns also what
/// is to be created.
async fn existing(aws: &Aws, config: &Config, site: &Site, network: Option<&Network>) -> (CheckResult, New) {
    let page = lay_out(config, site, network, &Programs::none(), health::Wait::default());
    match page.stack.plan(aws, None).await {
        Ok(plan) => {
            // Without a build, the name of an uploaded program is not known.
            let known: Vec<_> = plan.lines.iter().filter(|line| line.address.kind != Artifact::KIND).collect();
            let there = known.iter().filter(|line| line.step != Step::Create).count();
            let count = format!("{there} of {} exist", known.len());
            let result = CheckResult::good("resources", format!("{count} (programs not counted), and all can be read"));
            (result, New::planned(&plan))
        }
        Err(error) => (CheckResult::of("resources", &Failure::from(error)), New::described(config)),
    }
}

/// The calls that EC2 accepts as a dry run. No other service has dry runs.
async fn trials(aws: &Aws, config: &Config, site: &Site, network: Option<&Network>) -> Vec<CheckResult> {
    let names = StackNames::of(config, site);
    let first = network.zip(config.services.iter().next());
    let mut results = Vec::new();
    if let Some((network, (entry, service))) = first {
        let tags = |address: String| -> Tags {
            let ours = [(STACK_TAG.to_owned(), config.name.to_string()), (RESOURCE_TAG.to_owned(), address)];
            config.tags.clone().into_iter().chain(ours).collect()
        };
        let group = aws
            .ec2
            .create_security_group()
            .dry_run(true)
            .group_name(names.plain(&format!("{}-lb", service.entry_in_names(entry.as_str()))))
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
        let group = async {
            // Without its network, a group cannot be tried.
            match network.vpc.is_empty() {
                true => None,
                false => Some(group.send().await.map(drop).map_err(Fault::from)),
            }
        };
        let vpc = async {
            let block = network.own.as_ref()?.block.to_string();
            let tags = ec2_specification(ResourceType::Vpc, &tags("vpc.own".to_owned()));
            let vpc = aws.ec2.create_vpc().dry_run(true).cidr_block(block).tag_specifications(tags);
            Some(vpc.send().await.map(drop).map_err(Fault::from))
        };
        let template = async { template.send().await.map(drop).map_err(Fault::from) };
        let (group, template, vpc) = futures::join!(group, template, vpc);
        results.extend(vpc.map(|vpc| tried("ec2:CreateVpc", vpc)));
        results.extend(group.map(|group| tried("ec2:CreateSecurityGroup", group)));
        results.push(tried("ec2:CreateLaunchTemplate", template));
    }
    results
}

/// The error codes of a dry run that is allowed (docs/aws.md §3.5).
const ALLOWED: &[&str] =
    &["DryRunOperation", "InvalidGroup.Duplicate", "InvalidLaunchTemplateName.AlreadyExistsException"];

fn tried(action: &str, result: Result<(), Fault>) -> CheckResult {
    let subject = format!("permission {action}");
    match result {
        Ok(()) => CheckResult::unclear(&subject, "not checked: the endpoint ignores DryRun"),
        Err(fault) if ALLOWED.contains(&fault.code.as_str()) => CheckResult::good(&subject, "allowed"),
        Err(fault) if remedies::is_denial(&fault) => CheckResult::of(&subject, &Failure::from(fault)),
        Err(fault) => unchecked(&subject, &fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_counts_as_allowed_only_if_aws_says_so() {
        let tried = |code: &str| tried("ec2:CreateX", Err(Fault::new("CreateX", code, "it says so"))).lines().remove(0);
        assert_eq!(tried("DryRunOperation"), "✓ permission ec2:CreateX: allowed");
        assert!(tried("UnauthorizedOperation").starts_with("✗ permission ec2:CreateX: "));
        assert!(tried("InternalError").starts_with("! permission ec2:CreateX: not checked: "));
    }

    #[test]
    fn the_time_left_is_shown_in_hours_and_minutes() {
        let shown = |minutes: u64| lasting(Duration::from_secs(minutes * 60 + 30));
        assert_eq!([shown(0), shown(59), shown(60), shown(135)], ["0 min", "59 min", "1 h 0 min", "2 h 15 min"]);
    }
}
