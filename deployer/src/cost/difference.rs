//! The change in monthly cost that a plan makes.

use super::{Fleet, POLICY_ALARMS, balancer_monthly};
use crate::{
    config::{Config, DIRECT_SUFFIX, INTERNAL_SUFFIX},
    engine::{Change, Plan, Planned, Resource, Step},
    kinds::{
        alarm::Alarm, auto_scaling_group::AutoScalingGroup, elastic_address::ElasticAddress,
        launch_template::LaunchTemplate, load_balancer::LoadBalancer,
    },
    page::{Front, Page},
};

/// The difference that a plan makes, in US dollars a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The amount.
    pub amount: f64,
    /// Whether everything that is not billed by use is included.
    pub is_complete: bool,
}

/// Returns the difference in price between the existing stack and the planned one. Charges by use are left out.
pub fn of_plan(config: &Config, page: &Page, plan: &Plan, zones: usize, usual_bake: u16) -> Difference {
    let mut difference = Difference { amount: 0.0, is_complete: true };
    let mut moved = Vec::new();
    for front in &page.services {
        let Some((_, service)) = config.services.iter().find(|(entry, _)| entry.as_str() == front.name) else {
            continue;
        };
        let wanted = Fleet::described(service, zones, usual_bake);
        let Some(lines) = ServiceLines::of(front, &wanted, plan, &mut moved) else { continue };
        let (before, after) = (lines.before(&wanted), lines.after(&wanted));
        match (before.monthly(), after.monthly()) {
            (Some(before), Some(after)) => difference.amount += after - before,
            _ => difference.is_complete = false,
        }
    }
    let removed = plan.doomed().filter(|line| line.address.section.is_empty());
    for line in removed {
        match line.address.kind {
            LoadBalancer::KIND if line.name.ends_with(INTERNAL_SUFFIX) => difference.amount -= balancer_monthly(0),
            LoadBalancer::KIND => difference.amount -= balancer_monthly(zones),
            AutoScalingGroup::KIND if !moved.contains(&line.name) => difference.is_complete = false,
            _ => (),
        }
    }
    difference
}

/// The lines of a service that decide its cost.
struct ServiceLines<'a> {
    /// What happens to its load balancer, unless it shares that of another service or has none.
    balancer: Option<&'a Step>,
    /// What happens to its elastic IP address, if it has one.
    address: Option<&'a Step>,
    group: &'a Step,
    /// The changes of the launch template.
    template: &'a [Change],
    /// Whether the plan creates its alarms.
    gets_alarms: bool,
    /// The number of instances that exist at least; `None` if there is no group.
    instances: Option<u32>,
}

impl<'a> ServiceLines<'a> {
    /// Returns `None` if the plan is not about this service. Groups of the service on another port, or behind a load
    /// balancer of another scheme, count as its own, with the wanted size, since their size was not read; their names are
    /// added to `moved`.
    fn of(front: &Front, wanted: &Fleet, plan: &'a Plan, moved: &mut Vec<String>) -> Option<ServiceLines<'a>> {
        let line = |kind: &str| plan.lines.iter().find(|line| line.address.kind == kind && is_of(line, &front.name));
        let (balancer, address) = (line(LoadBalancer::KIND), line(ElasticAddress::KIND));
        if balancer.is_none() && wanted.has_balancer {
            return None;
        }
        let group = line(AutoScalingGroup::KIND)?;
        let template: &[Change] = match &line(LaunchTemplate::KIND)?.step {
            Step::Update(changes) => changes,
            _ => &[],
        };
        let live = plan.outputs().get(front.group).map(|group| u32::try_from(group.min).unwrap_or_default());
        let old = plan.doomed().filter(|it| it.address.kind == AutoScalingGroup::KIND && is_on_a_port(it, front));
        let old = old.map(|it| (it.name.clone(), wanted.instances));
        let (names, sizes): (Vec<String>, Vec<u32>) = old.unzip();
        moved.extend(names);
        let instances = live.into_iter().chain(sizes).reduce(|one, other| one + other);
        let gets_alarms = line(Alarm::KIND).is_some_and(|line| line.step == Step::Create);
        let (balancer, address) = (balancer.map(|line| &line.step), address.map(|line| &line.step));
        Some(ServiceLines { balancer, address, group: &group.step, template, gets_alarms, instances })
    }

    fn before(&self, wanted: &Fleet) -> Fleet {
        let exists = |step: &Step| !matches!(step, Step::Create | Step::Leave(_));
        let from = |path: &str| self.template.iter().find(|it| it.path == path).and_then(|it| it.from.as_ref()?.open());
        Fleet {
            instance_type: from("instance_type").map_or(wanted.instance_type.clone(), str::to_owned),
            disk_gb: from("disk.gb").and_then(|gb| gb.parse().ok()).unwrap_or(wanted.disk_gb),
            instances: self.instances.unwrap_or(0),
            has_group: self.instances.is_some(),
            alarms: if self.gets_alarms { POLICY_ALARMS } else { wanted.alarms },
            has_balancer: self.balancer.is_some_and(exists),
            has_address: self.address.is_some_and(exists),
            addresses: wanted.addresses,
        }
    }

    fn after(&self, wanted: &Fleet) -> Fleet {
        let before = self.before(wanted);
        Fleet {
            instances: if matches!(self.group, Step::Leave(_)) { before.instances } else { wanted.instances },
            has_balancer: before.has_balancer || self.balancer == Some(&Step::Create),
            has_address: before.has_address || self.address == Some(&Step::Create),
            ..wanted.clone()
        }
    }
}

fn is_of(line: &Planned, service: &str) -> bool {
    line.address.section.strip_prefix("services.") == Some(service)
}

/// Whether an Auto Scaling group has the name of this service with any port and scheme, behind any load balancer.
fn is_on_a_port(line: &Planned, front: &Front) -> bool {
    let suffixes = [INTERNAL_SUFFIX, DIRECT_SUFFIX];
    let without = |rest: &str| suffixes.iter().find_map(|suffix| rest.strip_prefix(*suffix)).unwrap_or(rest).to_owned();
    let rest = line.name.strip_prefix(&front.template).map(without);
    let rest = rest.as_deref().and_then(|rest| rest.strip_prefix('-'));
    // The name of a service that has the load balancer may follow. Names begin with a letter: `s-web-9-8080` is that of a
    // service `web-9`.
    let port = rest.map(|rest| rest.split_once('-').unwrap_or((rest, "")));
    port.is_some_and(|(port, balanced)| {
        port.parse::<u16>().is_ok() && !balanced.starts_with(|first: char| first.is_ascii_digit())
    })
}
