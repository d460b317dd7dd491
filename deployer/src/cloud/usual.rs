//! How long each kind of resource usually takes (docs/aws.md §13).

use std::time::Duration;

use crate::engine::Step;

/// The usual time of one step of one kind.
pub struct Usual {
    /// The kind, such as `load_balancer`.
    pub kind: &'static str,
    /// The step: `creating`, `updating`, `deleting`.
    pub step: &'static str,
    /// The time that AWS itself takes, in seconds.
    pub work_s: u16,
    /// The time that configured intervals take, such as those of health checks, in seconds.
    pub configured_s: u16,
}

const fn usual(kind: &'static str, step: &'static str, work_s: u16) -> Usual {
    Usual { kind, step, work_s, configured_s: 0 }
}

const fn configured(kind: &'static str, step: &'static str, work_s: u16, configured_s: u16) -> Usual {
    Usual { kind, step, work_s, configured_s }
}

/// The step of a resource that does not exist yet; of a service, the wait until it is healthy.
pub const CREATING: &str = "creating";
/// The step of a resource that differs.
pub const UPDATING: &str = "updating";
/// The step of a resource that is no longer wanted.
const DELETING: &str = "deleting";

/// The usual times of AWS, by kind and step. What is not listed usually takes [`OTHERS_S`].
pub const TIMES: &[Usual] = &[
    usual("auto_scaling_group", CREATING, 25),
    configured("auto_scaling_group", UPDATING, 300, 60),
    usual("auto_scaling_group", DELETING, 90),
    usual("bucket", CREATING, 2),
    usual("certificate", CREATING, 5),
    usual("function", CREATING, 8),
    usual("function", UPDATING, 6),
    usual("instance_profile", CREATING, 10),
    usual("launch_template", CREATING, 3),
    usual("load_balancer", CREATING, 150),
    usual("load_balancer", DELETING, 90),
    usual("role", CREATING, 2),
    usual("security_group", CREATING, 4),
    configured("service", CREATING, 60, 20),
    usual("table", CREATING, 8),
    usual("table", DELETING, 10),
    usual("validation_record", CREATING, 120),
];

/// The usual time of every other step, in seconds.
pub const OTHERS_S: u16 = 1;

/// The speed of the cloud.
#[derive(Debug, Clone, Copy, Default)]
pub enum Scale {
    /// The speed of AWS.
    #[default]
    Aws,
    /// A local AWS with this speed.
    #[cfg(feature = "local")]
    Local(local::Speed),
}

impl Scale {
    /// How long a step of a kind usually takes.
    pub fn usual(self, kind: &str, step: &str) -> Duration {
        let row = TIMES.iter().find(|row| row.kind == kind && row.step == step);
        let (work_s, configured_s) = row.map_or((OTHERS_S, 0), |row| (row.work_s, row.configured_s));
        let (work_s, configured_s) = (u64::from(work_s), u64::from(configured_s));
        match self {
            Scale::Aws => Duration::from_secs(work_s + configured_s),
            #[cfg(feature = "local")]
            Scale::Local(speed) => speed.takes(work_s) + speed.lasts(configured_s),
        }
    }

    /// How long a configured time of so many seconds lasts.
    pub fn lasts(self, seconds: u64) -> Duration {
        match self {
            Scale::Aws => Duration::from_secs(seconds),
            #[cfg(feature = "local")]
            Scale::Local(speed) => speed.lasts(seconds),
        }
    }

    /// How long a planned step usually takes; `None` if there is nothing to do.
    pub fn of_step(self, kind: &str, step: &Step) -> Option<Duration> {
        let step = match step {
            Step::Create => CREATING,
            Step::Update(_) | Step::Pending(_) | Step::Wait(_) => UPDATING,
            Step::Delete { .. } => DELETING,
            Step::Keep | Step::Leave(_) | Step::Foreign { .. } | Step::Replace(_) | Step::Protected => return None,
        };
        Some(self.usual(kind, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn every_row_is_of_a_kind_and_is_documented() {
        let document = include_str!("../../../docs/aws.md");
        let known: Vec<&str> = kinds::KINDS.iter().map(|kind| kind.name).chain(["service"]).collect();
        for Usual { kind, step, work_s, configured_s } in TIMES {
            assert!(known.contains(kind), "{kind}");
            let row = format!("| `{kind}` | {step} | {work_s} | {configured_s} |");
            assert!(document.contains(&row), "docs/aws.md §13 lacks {row}");
        }
        assert!(document.contains(&format!("| every other step | | {OTHERS_S} | 0 |")));
    }

    #[test]
    fn a_local_aws_is_faster_by_its_speed() {
        let seconds = |scale: Scale, kind, step| scale.usual(kind, step).as_secs_f64();
        assert_eq!(seconds(Scale::Aws, "load_balancer", CREATING), 150.0);
        assert_eq!(seconds(Scale::Aws, "load_balancer", UPDATING), 1.0);
        assert_eq!(seconds(Scale::Aws, "service", CREATING), 80.0);
        #[cfg(feature = "local")]
        {
            let fast = Scale::Local(local::Speed::FAST);
            assert_eq!(seconds(fast, "load_balancer", CREATING), 0.3);
            assert_eq!(seconds(fast, "service", CREATING), 0.12 + 1.0);
            assert_eq!(fast.lasts(1800).as_secs(), 90);
        }
    }
}
