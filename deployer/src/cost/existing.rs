//! The cost and the contents of existing resources, from their sizes alone: without a description of the stack.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{POLICY_ALARMS, address_monthly, alarms_monthly, balancer_monthly, instance_monthly, secrets_monthly};
use crate::{
    config::DIRECT_SUFFIX,
    engine::{Resource as _, Size},
    kinds::{
        alarm::Alarm, auto_scaling_group::AutoScalingGroup, bucket::Bucket, elastic_address::ElasticAddress,
        launch_template::LaunchTemplate, load_balancer::LoadBalancer, secret::Secret, table::Table,
    },
};

/// The sizes of the resources of a stack, by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Existing {
    /// The types of the instances of each Auto Scaling group, with the group's launch template.
    groups: Vec<(String, Vec<String>)>,
    /// The disk of each launch template, in GB.
    disks: BTreeMap<String, u32>,
    /// The number of public addresses of each load balancer.
    balancers: Vec<usize>,
    /// The number of groups with a scaling policy.
    policies: u32,
    /// The number of public addresses that no instance has.
    idle_addresses: u32,
    /// The number of metrics that alarms watch.
    metrics: u32,
    secrets: u32,
    objects: Counted,
    rows: Counted,
}

/// Objects or rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counted {
    count: u64,
    bytes: u64,
    more: bool,
}

/// The total sizes of a stack. The fields are keys of `ls --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The number of instances; `None` if unknown.
    pub instances: Option<usize>,
    /// The number of objects counted; `None` if unknown.
    pub objects: Option<u64>,
    /// Whether there are more objects than were counted.
    pub more_objects: bool,
    /// The size of the objects counted.
    pub object_bytes: Option<u64>,
    /// The number of rows; `None` if unknown.
    pub rows: Option<u64>,
    /// Their size.
    pub row_bytes: Option<u64>,
}

impl Existing {
    /// Adds a resource.
    pub fn add(&mut self, kind: &str, name: &str, size: Size) {
        self.secrets += u32::from(kind == Secret::KIND);
        match size {
            Size::None => (),
            Size::Items { count, bytes, more } => {
                let counted = if kind == Table::KIND { &mut self.rows } else { &mut self.objects };
                counted.count += count;
                counted.bytes += bytes;
                counted.more |= more;
            }
            Size::Machines { types, template } => {
                // One instance without a load balancer is not scaled.
                let is_direct = name.rsplit_once('-').is_some_and(|(entry, _)| entry.ends_with(DIRECT_SUFFIX));
                self.policies += u32::from(!is_direct);
                self.groups.push((template, types));
            }
            Size::Disk(gb) => drop(self.disks.insert(name.to_owned(), gb)),
            Size::Balancer { addresses } => self.balancers.push(addresses),
            Size::IdleAddress => self.idle_addresses += 1,
            Size::Alarm { metrics } => self.metrics += metrics,
        }
    }

    /// The price of a month; `None` if an instance type has no price or the disk of an instance is unknown.
    pub fn monthly(&self) -> Option<f64> {
        let mut sum = alarms_monthly(self.metrics + POLICY_ALARMS * self.policies);
        for (template, types) in &self.groups {
            for kind in types {
                sum += instance_monthly(kind, *self.disks.get(template)?)?;
            }
        }
        for addresses in &self.balancers {
            sum += balancer_monthly(*addresses);
        }
        Some(sum + f64::from(self.idle_addresses) * address_monthly() + secrets_monthly(self.secrets))
    }

    /// The total sizes. Those of a kind are unknown if `is_known` is false for it: it could not be read completely.
    pub fn sizes(&self, is_known: impl Fn(&str) -> bool) -> Sizes {
        let instances = self.groups.iter().map(|(_, types)| types.len()).sum();
        let (objects, rows) =
            (is_known(Bucket::KIND).then_some(self.objects), is_known(Table::KIND).then_some(self.rows));
        Sizes {
            instances: is_known(AutoScalingGroup::KIND).then_some(instances),
            objects: objects.map(|it| it.count),
            more_objects: objects.is_some_and(|it| it.more),
            object_bytes: objects.map(|it| it.bytes),
            rows: rows.map(|it| it.count),
            row_bytes: rows.map(|it| it.bytes),
        }
    }
}

/// The kinds that have a price.
pub const PRICED: [&str; 6] =
    [Alarm::KIND, AutoScalingGroup::KIND, ElasticAddress::KIND, LaunchTemplate::KIND, LoadBalancer::KIND, Secret::KIND];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Fleet;

    fn group(types: &[&str], template: &str) -> Size {
        let types = types.iter().map(|kind| (*kind).to_owned()).collect();
        Size::Machines { types, template: template.into() }
    }

    #[test]
    fn what_exists_costs_what_its_description_says() {
        let mut existing = Existing::default();
        existing.add("auto_scaling_group", "s-web-8080", group(&["t3.micro", "t3.micro"], "s-web"));
        existing.add("load_balancer", "s-web", Size::Balancer { addresses: 2 });
        existing.add("alarm", "s-web-a", Size::Alarm { metrics: 2 });
        existing.add("launch_template", "s-web", Size::Disk(30));
        let fleet = Fleet {
            instance_type: "t3.micro".into(),
            instances: 2,
            disk_gb: 30,
            has_group: true,
            alarms: 4,
            has_balancer: true,
            addresses: 2,
            has_address: false,
        };
        let (ours, described) = (existing.monthly().unwrap(), fleet.monthly().unwrap());
        assert!((ours - described).abs() < 1e-9, "{ours} is not {described}");
        existing.add("secret", "app/token", Size::None);
        existing.add("secret", "app/fields", Size::None);
        // Parameters cost nothing.
        existing.add("parameter", "/app/password", Size::None);
        let more = existing.monthly().unwrap() - ours;
        assert!((more - 0.80).abs() < 1e-9, "{more}");
        existing.add("auto_scaling_group", "s-api-8080", group(&["t3.mega"], "s-web"));
        assert_eq!(existing.monthly(), None, "the type has no price");
    }

    #[test]
    fn the_cost_of_an_instance_without_a_known_disk_is_unknown() {
        let mut existing = Existing::default();
        existing.add("auto_scaling_group", "s-web-8080", group(&[], "s-web"));
        assert!(existing.monthly().is_some(), "it has no instance");
        existing.add("auto_scaling_group", "s-api-8080", group(&["t3.micro"], "s-api"));
        assert_eq!(existing.monthly(), None);
        assert_eq!(Existing::default().monthly(), Some(0.0));
    }

    #[test]
    fn objects_and_rows_are_added_up_and_unread_kinds_are_unknown() {
        let mut existing = Existing::default();
        existing.add("bucket", "a", Size::Items { count: 1_000, bytes: 10, more: true });
        existing.add("bucket", "b", Size::Items { count: 2, bytes: 5, more: false });
        existing.add("table", "c", Size::Items { count: 3, bytes: 7, more: false });
        let all = existing.sizes(|_| true);
        assert_eq!(
            (all.instances, all.objects, all.more_objects, all.object_bytes),
            (Some(0), Some(1_002), true, Some(15))
        );
        assert_eq!((all.rows, all.row_bytes), (Some(3), Some(7)));
        let some = existing.sizes(|kind| kind != "bucket");
        assert_eq!((some.objects, some.more_objects, some.object_bytes, some.rows), (None, false, None, Some(3)));
    }
}
