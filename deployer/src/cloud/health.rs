//! Whether a service is healthy behind its load balancer, and what is known about why it is not.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_autoscaling::types::{Activity, AutoScalingGroup, ScalingActivityStatusCode};
use aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    cloud::{
        aws::Aws,
        why::{ServiceNames, report::End},
    },
    engine::Fault,
    kinds::{
        auto_scaling_group::{self, running},
        elastic_address::ElasticAddress,
    },
};

mod probe;

pub(super) use probe::probed;

/// The health of a service at one moment, as AWS reports it.
#[derive(Debug, Clone)]
pub struct Health {
    /// The number of healthy targets required.
    pub wanted: usize,
    /// The number of healthy targets.
    pub healthy: usize,
    /// Every target.
    pub targets: Vec<Target>,
    /// The instances of the release that the group runs. Those of an earlier one may leave while this is read.
    pub current: BTreeSet<String>,
    /// The error of its newest launch, which the group retries.
    pub failed_launch: Option<String>,
    /// The reason why waiting cannot help.
    pub failure: Option<Fault>,
}

/// The code of a launch error that waiting does not resolve.
const LAUNCH_FAILED: &str = "LaunchFailed";
/// The code of a service that is not healthy, temporarily or permanently.
pub const NOT_HEALTHY: &str = "NotHealthy";

/// One instance, as the load balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `i-…`.
    pub id: String,
    /// `initial`, `healthy`, `unhealthy`, `unused`, `draining` …
    pub state: String,
    /// The reason code, such as `Target.Timeout`; empty if healthy.
    pub reason: String,
    /// AWS's description of the reason.
    pub description: String,
}

/// The wait for healthy targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// No wait: steps that depend on them are left for the next run.
    No,
    /// At most this long.
    Within(Duration),
}

impl Default for Wait {
    /// The longest time that an Auto Scaling group usually needs (docs/aws.md §0.2, `ASG_CAPACITY`).
    fn default() -> Self {
        Wait::Within(Duration::from_secs(10 * 60))
    }
}

/// Reads the health once.
pub async fn look(aws: &Aws, target_group: &str, group: &str) -> Result<Health, Fault> {
    let (targets, group_there) = futures::try_join!(targets(aws, target_group), describe(aws, group))?;
    judged(aws, group, targets, group_there).await
}

/// The same for a service with an elastic IP address in place of a load balancer.
pub async fn look_at(aws: &Aws, names: &ServiceNames, address: &ElasticAddress) -> Result<Health, Fault> {
    let (found, group_there) = futures::try_join!(address.find(aws), describe(aws, &names.group))?;
    let targets = match &found {
        Some(address) => probed(names, address).await,
        None => Vec::new(),
    };
    judged(aws, &names.group, targets, group_there).await
}

async fn judged(
    aws: &Aws,
    group: &str,
    targets: Vec<Target>,
    group_there: Option<AutoScalingGroup>,
) -> Result<Health, Fault> {
    let wanted = group_there.as_ref().map_or(1, wanted);
    let healthy = targets.iter().filter(|target| target.state == "healthy").count();
    let version = group_there.as_ref().and_then(AutoScalingGroup::launch_template).map(auto_scaling_group::template);
    let current = group_there.as_ref().zip(version).map(|(group, version)| running(group, &version));
    let current = current.unwrap_or_default();
    let mut health = Health { wanted, healthy, targets, current, failed_launch: None, failure: None };
    if !health.is_up() {
        let activities = activities(aws, group).await?;
        let newest = activities.first();
        health.failed_launch = newest.and_then(failed_launch).map(str::to_owned);
        health.failure = newest.and_then(|newest| final_failure(newest, SystemTime::now()));
    }
    Ok(health)
}

/// The error for a service that will not become healthy: its program exits repeatedly, in the same way each time.
pub fn hopeless(service: &str, end: &End) -> Fault {
    Fault::new("DescribeTargetHealth", NOT_HEALTHY, format!("{service} {end}"))
}

/// The error for a service that did not become healthy in the usual time. The last launch error explains the most.
pub fn never_healthy(service: &str, after: Duration, failed_launch: Option<&str>) -> Fault {
    let message = format!("{service} has not become healthy within {} s", after.as_secs());
    let message = failed_launch.map_or(message.clone(), |launch| format!("{message}: {launch}"));
    Fault::new("DescribeTargetHealth", NOT_HEALTHY, message)
}

impl Health {
    /// Whether enough targets are healthy.
    pub fn is_up(&self) -> bool {
        self.healthy >= self.wanted
    }

    /// Whether this instance runs the release of the group, and the load balancer does not find it healthy. One that is
    /// leaving does not count.
    pub fn is_ill(&self, instance: &str) -> bool {
        let is_ill = |state: &str| !matches!(state, "healthy" | "draining" | "unhealthy.draining" | "unused");
        self.current.contains(instance) && self.targets.iter().any(|it| it.id == instance && is_ill(&it.state))
    }

    /// Returns what is still missing, in one line.
    pub fn waiting_for(&self) -> String {
        let Health { wanted, healthy, targets, .. } = self;
        let progress = format!("{healthy} of {wanted} healthy");
        let doing: BTreeSet<&str> = targets.iter().filter_map(Target::doing).collect();
        match doing.len() {
            0 if targets.is_empty() => format!("{progress}: no instance yet"),
            0 => progress,
            _ => format!("{progress}: {}", doing.into_iter().collect::<Vec<_>>().join(", ")),
        }
    }
}

impl Target {
    /// The state of a target that is not healthy.
    fn doing(&self) -> Option<&str> {
        match (self.state.as_str(), self.reason.as_str()) {
            ("healthy" | "draining" | "unhealthy.draining", _) => None,
            ("initial", "Elb.RegistrationInProgress") => Some("being registered"),
            ("initial", _) => Some("first health checks"),
            ("unhealthy", "Target.Timeout") => Some("no answer on its port"),
            ("unhealthy", "Target.ResponseCodeMismatch") => Some("the health check gets another status"),
            ("unhealthy", "Target.FailedHealthChecks") => Some("the health checks fail"),
            (state, _) => Some(state),
        }
    }

    /// The usual cause of a reason code (docs/aws.md §9.4).
    fn advice(&self) -> Option<&'static str> {
        match self.reason.as_str() {
            "Target.Timeout" => Some("nothing listens on its port, or its security group blocks the load balancer"),
            "Target.ResponseCodeMismatch" => {
                Some("the service runs but does not answer the health check's path with the expected status")
            }
            "Target.FailedHealthChecks" => Some("the service does not run, or closes the connection"),
            "Target.NotInUse" => {
                Some("no listener uses the target group, or the load balancer has no subnet in its zone")
            }
            "Target.InvalidState" => Some("the instance has been stopped or terminated"),
            "Target.NotRegistered" => Some("the instance has left the group"),
            "Elb.InternalError" => {
                Some("an error of the load balancer itself; it resolves itself or AWS has to fix it")
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Target { id, state, reason, description } = self;
        write!(f, "{id} is {state}")?;
        match (description.is_empty(), reason.is_empty()) {
            (false, _) => write!(f, ": {description}")?,
            (true, false) => write!(f, ": {reason}")?,
            (true, true) => (),
        }
        self.advice().map_or(Ok(()), |advice| write!(f, " ({advice})"))
    }
}

pub(super) async fn targets(aws: &Aws, target_group: &str) -> Result<Vec<Target>, Fault> {
    let answer = aws.elb.describe_target_health().target_group_arn(target_group).send().await?;
    Ok(answer.target_health_descriptions().iter().map(target).collect())
}

fn target(described: &TargetHealthDescription) -> Target {
    let health = described.target_health();
    Target {
        id: described.target().and_then(|target| target.id()).unwrap_or_default().into(),
        state: health.and_then(|health| health.state()).map(|state| state.as_str().to_owned()).unwrap_or_default(),
        reason: health.and_then(|health| health.reason()).map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        description: health.and_then(|health| health.description()).unwrap_or_default().into(),
    }
}

pub(super) async fn describe(aws: &Aws, group: &str) -> Result<Option<AutoScalingGroup>, Fault> {
    let call = aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(group);
    Ok(call.send().await?.auto_scaling_groups.and_then(|groups| groups.into_iter().next()))
}

/// The group's minimum. More instances may be starting because of load: that is not worth waiting for.
fn wanted(group: &AutoScalingGroup) -> usize {
    let (min, desired) = (group.min_size().unwrap_or(1), group.desired_capacity().unwrap_or(1));
    usize::try_from(desired.min(min.max(1))).unwrap_or_default()
}

/// The group's latest activities, newest first.
pub(super) async fn activities(aws: &Aws, group: &str) -> Result<Vec<Activity>, Fault> {
    let call = aws.autoscaling.describe_scaling_activities().auto_scaling_group_name(group).max_records(20);
    let mut activities = call.send().await?.activities.unwrap_or_default();
    activities.sort_by_key(|activity| std::cmp::Reverse(started_s(activity)));
    Ok(activities)
}

fn started_s(activity: &Activity) -> i64 {
    activity.start_time().map_or(0, |started| started.secs())
}

/// A text in a launch error, with the remedy (docs/aws.md §3.3).
pub(super) struct Refusal {
    text: &'static str,
    /// The remedy.
    pub advice: &'static str,
    lasts: Lasts,
}

/// Whether the group can succeed by retrying.
#[derive(PartialEq)]
enum Lasts {
    UntilSomebodyActs,
    ForAWhile,
}

const fn refusal(text: &'static str, advice: &'static str, lasts: Lasts) -> Refusal {
    Refusal { text, advice, lasts }
}

const REFUSALS: &[Refusal] = &[
    refusal(
        "not eligible for Free Tier",
        "this account may only use types of the free tier: set `instance_type: t3.micro`",
        Lasts::UntilSomebodyActs,
    ),
    refusal(
        "current vCPU limit",
        "the account's quota is used up: terminate other instances, lower `max`, or request an increase (Service Quotas, L-1216C47A)",
        Lasts::UntilSomebodyActs,
    ),
    refusal(
        "not supported in your requested Availability Zone",
        "a zone does not offer this type: choose another `instance_type`",
        Lasts::UntilSomebodyActs,
    ),
    refusal("pending verification", "AWS is still verifying this account: wait for its mail", Lasts::UntilSomebodyActs),
    refusal(
        "image id",
        "the machine image does not exist here: name another as `image`, or remove `image`, and run `up`",
        Lasts::UntilSomebodyActs,
    ),
    refusal(
        "does not match the architecture",
        "name an `image` of the instance type's architecture, or remove `image`, and run `up`",
        Lasts::UntilSomebodyActs,
    ),
    refusal("InvalidKMSKey", DISK_KEY, Lasts::UntilSomebodyActs),
    refusal("Client error on launch", DISK_KEY, Lasts::UntilSomebodyActs),
    refusal(
        "not authorized",
        "have the account's administrator allow the action that AWS names",
        Lasts::UntilSomebodyActs,
    ),
    // The group retries these itself, and they go away (docs/aws.md §10.2).
    refusal("Invalid IAM Instance Profile", "the new instance profile is not known everywhere yet", Lasts::ForAWhile),
    refusal(
        "sufficient",
        "AWS has no room for this type at the moment; the group keeps trying: run `up` again later, or choose another `instance_type`",
        Lasts::ForAWhile,
    ),
];

/// A key of the disks that is disabled, or whose policy does not admit Auto Scaling (docs/aws.md §8.4).
const DISK_KEY: &str = "the key of the disks cannot be used: enable it, and allow `AWSServiceRoleForAutoScaling` to use it in \
                        its policy, or name another `key`";

/// An older failure was most likely resolved by this run; if not, the group will hit it again.
const RECENT: Duration = Duration::from_secs(120);

fn has_failed(activity: &Activity) -> bool {
    activity.status_code() == Some(&ScalingActivityStatusCode::Failed)
}

/// The error, if it failed.
fn failed_launch(activity: &Activity) -> Option<&str> {
    activity.status_message().filter(|_| has_failed(activity))
}

pub(super) fn refusal_of(message: &str) -> Option<&'static Refusal> {
    REFUSALS.iter().find(|refusal| message.contains(refusal.text))
}

/// The remedy for a service that does not become healthy, if the reason is known.
pub fn advice(fault: &Fault) -> Option<&'static str> {
    let is_ours = [LAUNCH_FAILED, NOT_HEALTHY].contains(&fault.code.as_str());
    refusal_of(&fault.message).filter(|_| is_ours).map(|refusal| refusal.advice)
}

/// The launch error that waiting does not resolve, if it is the group's newest activity.
fn final_failure(newest: &Activity, now: SystemTime) -> Option<Fault> {
    let message = failed_launch(newest)?;
    refusal_of(message).filter(|refusal| refusal.lasts == Lasts::UntilSomebodyActs)?;
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_recent = i64::try_from(now_s).is_ok_and(|now_s| now_s - started_s(newest) < RECENT.as_secs() as i64);
    is_recent.then(|| Fault::new("Launch", LAUNCH_FAILED, message))
}

/// The most lines of a console read.
const LAST_LINES: usize = 200;

/// Reads the latest console output. Types without the Nitro hypervisor have only the output of the last boot
/// (docs/aws.md §8.5).
pub(super) async fn console(aws: &Aws, instance: &str) -> Result<Vec<String>, Fault> {
    let call = aws.ec2.get_console_output().instance_id(instance);
    let answer = match call.clone().latest(true).send().await.map_err(Fault::from) {
        Err(fault) if fault.code == "UnsupportedOperation" => call.send().await?,
        answer => answer?,
    };
    Ok(last_lines(answer.output().unwrap_or_default()))
}

/// The end of a console, without the control sequences that boot messages contain.
fn last_lines(base64: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&STANDARD.decode(base64.trim()).unwrap_or_default()).into_owned();
    let clean = |line: &str| -> String {
        console::strip_ansi_codes(line).chars().filter(|c| !c.is_control()).collect::<String>().trim_end().to_owned()
    };
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_autoscaling::primitives::DateTime;

    fn target(state: &str, reason: &str, description: &str) -> Target {
        Target { id: "i-1".into(), state: state.into(), reason: reason.into(), description: description.into() }
    }

    /// One of two is healthy.
    fn health(targets: Vec<Target>) -> Health {
        Health { wanted: 2, healthy: 1, targets, current: BTreeSet::new(), failed_launch: None, failure: None }
    }

    fn failed(message: &str, started_s: i64) -> Activity {
        Activity::builder()
            .activity_id("a")
            .auto_scaling_group_name("web")
            .cause("because")
            .start_time(DateTime::from_secs(started_s))
            .status_code(ScalingActivityStatusCode::Failed)
            .status_message(message)
            .build()
    }

    const FREE_TIER: &str = "The specified instance type is not eligible for Free Tier. Launching EC2 instance failed.";

    #[test]
    fn a_service_is_up_when_its_minimum_of_targets_is_healthy() {
        let group = |min, desired| AutoScalingGroup::builder().min_size(min).desired_capacity(desired).build();
        assert_eq!(wanted(&group(2, 4)), 2, "two more are on their way");
        assert_eq!(wanted(&group(0, 1)), 1);
        assert_eq!(wanted(&group(0, 0)), 0);
        let health = |healthy| Health { healthy, ..health(Vec::new()) };
        assert!(!health(1).is_up() && health(2).is_up() && health(3).is_up());
    }

    #[test]
    fn the_state_that_is_waited_for_is_one_line() {
        assert_eq!(health(vec![]).waiting_for(), "1 of 2 healthy: no instance yet");
        assert_eq!(health(vec![target("healthy", "", "")]).waiting_for(), "1 of 2 healthy");
        let ill = vec![target("initial", "Elb.RegistrationInProgress", ""), target("unhealthy", "Target.Timeout", "")];
        assert_eq!(health(ill).waiting_for(), "1 of 2 healthy: being registered, no answer on its port");
    }

    #[test]
    fn a_target_is_explained() {
        let mismatch =
            target("unhealthy", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [404]");
        assert_eq!(
            mismatch.to_string(),
            "i-1 is unhealthy: Health checks failed with these codes: [404] (the service runs but does not answer the \
             health check's path with the expected status)"
        );
        assert_eq!(
            target("initial", "Elb.InitialHealthChecking", "").to_string(),
            "i-1 is initial: Elb.InitialHealthChecking"
        );
    }

    #[test]
    fn only_a_recent_permanent_failure_is_final() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let fault = final_failure(&failed(FREE_TIER, 9_950), now).unwrap();
        assert_eq!(fault.message, FREE_TIER);
        assert!(final_failure(&failed(FREE_TIER, 9_000), now).is_none(), "it may have been cured since");
        let for_a_while =
            "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
        assert!(final_failure(&failed(for_a_while, 9_990), now).is_none());
        assert!(final_failure(&failed("something new", 9_990), now).is_none());
        let of_key = "Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state";
        assert_eq!(final_failure(&failed(of_key, 9_990), now).and_then(|fault| advice(&fault)), Some(DISK_KEY));
        let succeeded = Activity::builder()
            .activity_id("a")
            .auto_scaling_group_name("web")
            .cause("because")
            .start_time(DateTime::from_secs(9_990))
            .status_code(ScalingActivityStatusCode::Successful)
            .build();
        assert!(final_failure(&succeeded, now).is_none());
    }

    #[test]
    fn only_an_instance_of_the_release_that_the_group_runs_is_unhealthy() {
        for (state, expected) in [
            ("initial", true),
            ("unhealthy", true),
            ("unavailable", true),
            ("healthy", false),
            ("draining", false),
            ("unhealthy.draining", false),
            ("unused", false),
        ] {
            let old = Target { id: "i-0".into(), ..target("unhealthy", "", "") };
            let health = Health { current: ["i-1".to_owned()].into(), ..health(vec![old, target(state, "", "")]) };
            assert_eq!(health.is_ill("i-1"), expected, "{state}");
            assert!(!health.is_ill("i-0") && !health.is_ill("i-2"));
        }
    }

    #[test]
    fn a_console_is_shown_from_its_end_and_without_control_sequences() {
        let text: String = (0..300).map(|n| format!("\u{1b}[32mline {n}\u{1b}[0m\r\n\r\n")).collect();
        let lines = last_lines(&STANDARD.encode(text));
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!((lines[0].as_str(), lines[14].as_str()), ("line 100", "line 114"));
        assert!(last_lines("").is_empty());
    }
}
