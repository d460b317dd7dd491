//! The Learner Labs of AWS Academy: their roles, their limit of instances, and the end of their credentials (docs/aws.md
//! §3.4).

use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use aws_sdk_ec2::types::{Filter, Instance};

use super::{Session, place};
use crate::{
    cloud::aws::{Aws, items},
    config::{Config, LAB_INSTANCES},
    engine::{Fault, STACK_TAG, Schedule, Task},
    output::{
        counted::counted,
        exit::{Exit, Failure},
        report,
    },
};

/// The remedy for too many instances.
const FEWER: &str =
    "terminate what is no longer needed, or lower `instances.max`; at 20 instances AWS closes the account";

/// The kind of account, as AWS calls it.
pub const LAB: &str = "AWS Academy Learner Lab";

/// The line that introduces the account.
pub fn introduction(config: &Config) -> Option<String> {
    let roles = config.roles.as_ref().filter(|_| config.is_lab)?;
    let profile = roles.instance_profile.iter().map(|profile| format!(" and {profile}"));
    let names: String = std::iter::once(roles.existing.clone()).chain(profile).collect();
    Some(format!("{LAB}: uses {names}, and changes nothing in IAM"))
}

/// The room for instances in a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The running and starting instances of others in the region.
    others: u32,
    /// The maximum of the services.
    most: u32,
}

impl Room {
    /// Counts the instances in the region of a lab; `None` if the account is not a lab, or if there are no services.
    pub async fn of(aws: &Aws, config: &Config) -> Result<Option<Room>, Fault> {
        if !config.is_lab || config.services.is_empty() {
            return Ok(None);
        }
        let alive = Filter::builder().name("instance-state-name").values("pending").values("running").build();
        let found = items(aws.ec2.describe_instances().filters(alive).into_paginator().send()).await?;
        let instances = found.iter().flat_map(|reservation| reservation.instances());
        let others = instances.filter(|one| !is_of(one, config.name.as_str())).count();
        let most = config.services.values().map(|service| u32::from(service.instances.max)).sum();
        Ok(Some(Room { others: u32::try_from(others).unwrap_or(u32::MAX), most }))
    }

    /// Whether all of them can run at once.
    pub fn is_enough(self) -> bool {
        self.others.saturating_add(self.most) <= LAB_INSTANCES
    }

    /// Whether a roll-out has room: it launches before it terminates, so twice as many run (docs/aws.md §3.4).
    pub fn is_enough_to_roll_out(self) -> bool {
        self.others.saturating_add(self.most.saturating_mul(2)) <= LAB_INSTANCES
    }

    /// Describes the room.
    pub fn words(self) -> String {
        let Room { others, most } = self;
        let besides = match others {
            0 => String::new(),
            others => format!(" in addition to {}", counted(others, "other")),
        };
        format!("up to {}{besides}; a lab terminates any beyond {LAB_INSTANCES}", counted(most, "instance"))
    }

    /// The remedy for too little room.
    pub fn remedy(self) -> &'static str {
        match self.is_enough() {
            false => FEWER,
            true => "a roll-out runs twice as many for a while: lower `instances.max`",
        }
    }
}

fn is_of(instance: &Instance, stack: &str) -> bool {
    instance.tags().iter().any(|tag| tag.key() == Some(STACK_TAG) && tag.value() == Some(stack))
}

impl Session {
    /// Rejects services for whose instances a lab has no room, before anything is built or created. Without a service
    /// among the targets, no instance is launched.
    pub(super) async fn check_room(&self, targets: &[String]) -> Result<(), Failure> {
        if !self.config.services.keys().any(|entry| self.is_needed(&format!("services.{entry}"), targets)) {
            return Ok(());
        }
        let room = Room::of(&self.aws, &self.config).await;
        let Some(room) = room.map_err(|fault| self.failed("count the instances of the lab", fault))? else {
            return Ok(());
        };
        match (room.is_enough(), room.is_enough_to_roll_out()) {
            (false, _) => {
                let place = place(&self.config, &self.file, "services");
                Err(Failure::new(Exit::Failed, anyhow!("{}", room.words())).hint(room.remedy()).at(place))
            }
            (true, false) => {
                report::warning(&format!("{}: {}", room.words(), room.remedy()));
                Ok(())
            }
            (true, true) => Ok(()),
        }
    }

    /// Reports when credentials that do not renew themselves expire, and how long these tasks take.
    pub(super) fn report_end(&self, tasks: Vec<Task>) {
        let Some(provider) = self.aws.provider.as_ref().filter(|provider| provider.source().is_fixed()) else { return };
        let Some(end) = provider.expires() else { return };
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        let takes = Schedule::new(tasks).remaining().left;
        match ending(left, takes) {
            Ending::Far => (),
            Ending::Known(words) => report::say(words),
            Ending::TooSoon(words) => report::warning(&format!("{words}: {}", provider.source().renew())),
        }
    }
}

/// The report on the expiry of credentials.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// Too far away to matter.
    Far,
    Known(String),
    /// Before the work is done.
    TooSoon(String),
}

/// Credentials that last longer are not worth a line.
const FAR: Duration = Duration::from_secs(4 * 3600);

fn ending(left: Duration, takes: Duration) -> Ending {
    let minutes = |time: Duration| (time.as_secs() + 30) / 60;
    let words = match minutes(takes) {
        0 => format!("credentials expire in {} min; this takes less than one", left.as_secs() / 60),
        about => format!("credentials expire in {} min; this takes about {about}", left.as_secs() / 60),
    };
    match left {
        left if left < takes => Ending::TooSoon(words),
        left if left <= FAR => Ending::Known(words),
        _ => Ending::Far,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_credentials_is_compared_with_the_work() {
        let of = |left: u64, takes: u64| ending(Duration::from_secs(left), Duration::from_secs(takes));
        assert_eq!(of(38 * 60 + 20, 350), Ending::Known("credentials expire in 38 min; this takes about 6".into()));
        assert_eq!(of(200, 350), Ending::TooSoon("credentials expire in 3 min; this takes about 6".into()));
        assert_eq!(of(200, 10), Ending::Known("credentials expire in 3 min; this takes less than one".into()));
        assert_eq!(of(5 * 3600, 350), Ending::Far);
    }

    #[test]
    fn instances_of_others_count_too() {
        let room = |others, most| Room { others, most };
        for (others, most, enough, to_roll_out) in
            [(0, 4, true, true), (1, 4, true, true), (2, 4, true, false), (6, 4, false, false)]
        {
            let room = room(others, most);
            assert_eq!((room.is_enough(), room.is_enough_to_roll_out()), (enough, to_roll_out), "{room:?}");
        }
        for (others, most, words) in [
            (3, 4, "up to 4 instances in addition to 3 others"),
            (1, 1, "up to 1 instance in addition to 1 other"),
            (0, 2, "up to 2 instances"),
        ] {
            assert_eq!(room(others, most).words(), format!("{words}; a lab terminates any beyond 9"));
        }
    }
}
