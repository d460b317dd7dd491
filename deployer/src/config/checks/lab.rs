//! The limits of a Learner Lab of AWS Academy.

use super::Checks;
use crate::config::{LAB_ROLE, SIZES};

/// The most instances in an AWS Academy account (docs/aws.md §3.4).
pub const LAB_INSTANCES: u32 = 9;
/// The largest disk there, in GB.
const LAB_DISK_GB: u16 = 100;
/// The only regions there.
const LAB_REGIONS: &[&str] = &["us-east-1", "us-west-2"];

impl Checks<'_> {
    /// Existing roles mean an AWS Academy account, which has limits of its own (docs/aws.md §3.4).
    pub(super) fn lab(&mut self) {
        let Some(roles) = &self.config.roles else { return };
        if roles.instance_profile.is_none() && !self.config.services.is_empty() {
            let help = "services need one that exists, too: add `instance_profile: LabInstanceProfile`";
            self.problem("roles", "`instance_profile` is missing in roles", help);
        }
        let mut instances = 0_u32;
        for (entry, service) in &self.config.services {
            instances += u32::from(service.instances.max);
            if instances > LAB_INSTANCES {
                let why = if self.config.is_lab { "in AWS Academy" } else { "with existing roles" };
                let message = format!("up to {instances} instances, {why}");
                let help = format!(
                    "an account of AWS Academy terminates all instances beyond {LAB_INSTANCES}, and at 20 itself: use at most \
                     {LAB_INSTANCES} in all services together"
                );
                self.problem(&format!("services.{entry}.instances.max"), message, help);
            }
        }
        if self.config.is_lab || roles.existing == LAB_ROLE {
            self.academy();
        }
    }

    /// Only AWS Academy accounts have a `LabRole`.
    fn academy(&mut self) {
        if !LAB_REGIONS.contains(&self.config.region.as_str()) {
            let help = format!("use {}", LAB_REGIONS.join(" or "));
            self.problem("region", format!("AWS Academy does not allow {}", self.config.region), help);
        }
        for (entry, function) in &self.config.functions {
            if function.concurrency.is_some_and(|reserved| reserved > 0) {
                let help = "leave it out: Lambda runs at most 10 invocations at once there, and reserves none of them";
                self.problem(
                    &format!("functions.{entry}.concurrency"),
                    "AWS Academy has no concurrency to reserve",
                    help,
                );
            }
        }
        for (entry, service) in &self.config.services {
            let name = service.instance_type.to_string();
            let size = name.split_once('.').and_then(|(_, size)| SIZES.iter().position(|known| *known == size));
            if size > SIZES.iter().position(|size| *size == "large") {
                let path = format!("services.{entry}.instance_type");
                self.problem(
                    &path,
                    format!("AWS Academy terminates instances like {name} at once"),
                    "use sizes nano to large",
                );
            }
            if service.disk_gb > LAB_DISK_GB {
                let help = format!("use at most {LAB_DISK_GB}");
                self.problem(&format!("services.{entry}.disk_gb"), "a larger disk than AWS Academy allows", help);
            }
        }
    }
}
