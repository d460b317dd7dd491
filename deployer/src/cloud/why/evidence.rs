//! Reads the evidence about a service. Reads are independent: a denied one is reported and does not hide the others.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_autoscaling::types::ScalingActivityStatusCode as Status;
use aws_sdk_ec2::types::InstanceAttributeName;
use aws_sdk_elasticloadbalancingv2::types::ProtocolEnum;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Reports,
    causes::has_run,
    report::{End, Line, Report, ends},
    reports,
    service_log::{self, DENIED_WITHIN_S},
};
use crate::{
    cloud::{
        aws::{Aws, found},
        health::{self, Target},
        stored_values::{Presence, presence},
    },
    config::{Behind, HTTPS_PORT, Store},
    engine::{Fault, look},
    kinds::{
        auto_scaling_group::{self, Downtime, downtime, tags_of},
        listener::{forwards, redirect},
        rule, tags,
    },
    page::user_data::{UNREADABLE, program},
};

/// A service and the names of its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNames {
    /// Its name in `stack.yaml`.
    pub service: String,
    /// Its Auto Scaling group.
    pub group: String,
    /// Its target group.
    pub target_group: String,
    /// Its load balancer, or that of the service that it is behind.
    pub balancer: String,
    /// Which requests of that service's load balancer it gets.
    pub behind: Option<Behind>,
    /// Its launch template.
    pub template: String,
    /// The port of the listener.
    pub front_port: i32,
    /// Its domain.
    pub domain: Option<String>,
    /// The port of the service.
    pub port: u16,
    /// The path of the health check.
    pub path: String,
    /// The grace period of a new instance.
    pub grace_s: i64,
    /// The instance type.
    pub instance_type: String,
    /// The location of its instances' reports.
    pub reports: Reports,
    /// Its log group.
    pub log_group: String,
}

/// The evidence about a service. What could not be read is empty.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Its name.
    pub service: String,
    /// The port of the service.
    pub port: u16,
    /// The path of the health check.
    pub path: String,
    /// The grace period of a new instance.
    pub grace_s: i64,
    /// The instance type.
    pub instance_type: String,
    /// When it was read, in seconds since 1970.
    pub now_s: i64,
    /// Messages about failed reads.
    pub unread: Vec<String>,
    /// The Auto Scaling group; the inner `None` means that it does not exist.
    pub group: Option<Option<Group>>,
    /// The activities of the group, newest first.
    pub launches: Vec<Launch>,
    /// Its instances, newest first.
    pub instances: Vec<Instance>,
    /// The reports of unhealthy and terminated instances, and of healthy ones whose service exits again and again, newest
    /// first.
    pub reports: Vec<Report>,
    /// The newest running instance that is not healthy.
    pub ill: Option<String>,
    /// Its console.
    pub console: Vec<Line>,
    /// Whether the program of that instance is in the artifact bucket. Without permission to list the bucket, S3 answers
    /// an instance with 403 for a missing program, too.
    pub has_program: Option<bool>,
    /// The value kept in AWS that the service could not read at its last start, if there was one.
    pub unreadable_value: Option<UnreadableValue>,
    /// The target health of each instance.
    pub targets: Vec<Target>,
    /// The path from the load balancer to the instances.
    pub wiring: Option<Wiring>,
    /// The newest roll-out.
    pub roll_out: Option<RollOut>,
    /// The newest line of its log about a call that AWS denied.
    pub denial: Option<String>,
}

/// A roll-out, as AWS reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollOut {
    /// The release that it brings: a version of the launch template.
    pub release: String,
    /// When it began, in seconds since 1970.
    pub begun_s: i64,
    /// When this run gave it up, in seconds since 1970.
    pub undone_s: Option<i64>,
    /// Its progress.
    pub stage: Stage,
    /// Why it was rolled back, according to AWS, if known.
    pub why: Option<String>,
    /// Whether an alarm is the reason.
    pub is_alarmed: bool,
    /// The last exit of the service in the release, if it was rolled back.
    pub end: Option<End>,
}

/// The progress of a roll-out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is rolling out its release.
    Forward,
    /// It is rolled back, or has been.
    Back,
    /// It has ended in any other way.
    #[default]
    Over,
}

/// A value kept in AWS that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableValue {
    /// The value in the words of the instance's script: `TOKEN from the secret app/jwt`.
    pub what: String,
    /// The message of AWS or of the script before it.
    pub why: String,
    /// Whether it exists and has a value; `None` if that could not be read: to a role that may read one secret only,
    /// AWS denies access to missing ones as well.
    pub presence: Option<Presence>,
}

/// An Auto Scaling group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Suspended processes.
    pub suspended: Vec<String>,
    /// The ARNs of its target groups.
    pub target_groups: Vec<String>,
    /// The minimum size.
    pub min: i32,
    /// The reason why it is empty on purpose, or the time from which it will be.
    pub downtime: Downtime,
    /// The version of the launch template that new instances start from, as a number.
    pub release: Option<String>,
    /// Its instances, as the group sees them.
    pub members: Vec<Member>,
}

/// An instance, as its group sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// `i-…`.
    pub id: String,
    /// Its Availability Zone.
    pub zone: String,
    /// `Pending`, `InService`, `Terminating`, …
    pub lifecycle: String,
    /// The version of the launch template that it was started from.
    pub release: Option<String>,
}

/// One of the group's activities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// The error, if it failed.
    pub failure: Option<String>,
    /// Its cause, as AWS words it.
    pub cause: String,
    /// The instance that it launches or terminates; empty if there is none.
    pub instance: String,
    /// Whether it terminates the instance.
    pub ends: bool,
    /// When it began, in seconds since 1970.
    pub at_s: i64,
}

impl Launch {
    /// Whether the load balancer has found the instance unhealthy after its grace period.
    pub fn is_replacement(&self) -> bool {
        self.cause.contains("ELB system health check failure")
    }
}

/// An instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Its Availability Zone.
    pub zone: String,
    /// `pending`, `running`, …
    pub state: String,
    /// The reason for the state, if AWS gives one.
    pub reason: String,
    /// When it was launched, in seconds since 1970.
    pub launched_s: i64,
    /// The ARN of its instance profile.
    pub profile: Option<String>,
    /// Its security groups.
    pub groups: Vec<String>,
    /// Whether it fails a status check.
    pub is_impaired: bool,
}

/// The path of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// The ARN of the target group.
    pub target_group: String,
    /// The host name of the load balancer; empty if there is none.
    pub host: String,
    /// The number of its zones.
    pub zones: usize,
    /// Whether it is served over HTTPS.
    pub is_https: bool,
    /// Whether the listener exists.
    pub listens: bool,
    /// Whether it or one of its rules forwards to the target group.
    pub forwards: bool,
    /// Whether a rule is to forward, in place of the listener itself.
    pub has_rule: bool,
    /// The load balancer's security groups.
    pub front: Vec<String>,
    /// Whether a security group of the instances admits the load balancer on the port; `None` if unknown.
    pub admits: Option<bool>,
}

/// Reads all evidence, concurrently where possible.
pub async fn collect(aws: &Aws, names: &ServiceNames) -> Evidence {
    let mut unread = Vec::new();
    let (group, launches, instances, written, wiring, roll_out) = futures::join!(
        look(|| group(aws, names)),
        look(|| launches(aws, names)),
        look(|| instances(aws, names)),
        look(|| reports(aws, &names.reports, 0)),
        look(|| wiring(aws, names)),
        look(|| roll_out(aws, names)),
    );
    let group = keep(&mut unread, "the Auto Scaling group", group);
    let launches = keep(&mut unread, "its activities", launches).unwrap_or_default();
    let mut instances = keep(&mut unread, "the instances", instances).unwrap_or_default();
    let written = keep(&mut unread, "the instances' reports", written).unwrap_or_default();
    let mut wiring = keep(&mut unread, "the load balancer", wiring);
    let mut roll_out = keep(&mut unread, "its roll-outs", roll_out).flatten();
    let arn = wiring.as_ref().map(|wiring| wiring.target_group.clone()).filter(|arn| !arn.is_empty());
    let targets = async {
        match &arn {
            Some(arn) => health::targets(aws, arn).await,
            None => Ok(Vec::new()),
        }
    };
    let alive = instances.iter().find(|it| it.state == "running").cloned();
    let running: Vec<&str> = instances.iter().filter(|it| it.state == "running").map(|it| it.id.as_str()).collect();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let (targets, impaired, admits, log) = futures::join!(
        targets,
        impaired(aws, &instances),
        admits(aws, names, alive.as_ref(), wiring.as_ref()),
        service_log::lines(aws, &names.log_group, &running, now_s - DENIED_WITHIN_S)
    );
    let log = keep(&mut unread, "its log", log).unwrap_or_default();
    let targets = keep(&mut unread, "the targets' health", targets).unwrap_or_default();
    let impaired = keep(&mut unread, "the status checks", impaired).unwrap_or_default();
    instances.iter_mut().for_each(|it| it.is_impaired = impaired.contains(&it.id));
    if let (Some(wiring), Some(admits)) = (&mut wiring, keep(&mut unread, "the security groups", admits)) {
        wiring.admits = admits;
    }
    let is_healthy = |id: &str| targets.iter().any(|target| target.id == id && target.state == "healthy");
    let all = Current { group: group.as_ref().and_then(Option::as_ref), roll_out: roll_out.as_ref() };
    let is_current = |it: &Instance| all.has(&it.id, it.launched_s);
    let is_ill = |it: &&Instance| it.state == "running" && !is_healthy(&it.id);
    // During a roll-out, an unhealthy instance of the previous release may be the reason for the new one.
    let ill = instances.iter().filter(|it| is_current(it)).find(is_ill).or_else(|| instances.iter().find(is_ill));
    let ill = ill.cloned();
    let (console, has_program) = match &ill {
        Some(ill) => {
            let (console, program) = futures::join!(health::console(aws, &ill.id), has_program(aws, names, &ill.id));
            let console = keep(&mut unread, "the console", console).unwrap_or_default();
            (console, keep(&mut unread, "the program in the artifact bucket", program).flatten())
        }
        None => (Vec::new(), None),
    };
    let launched = |report: &Report| instances.iter().find(|it| it.id == report.instance);
    if let Some(undone) = roll_out.as_ref().filter(|it| it.stage == Stage::Back).cloned() {
        let ended = |report: &Report| {
            let of_release = launched(report).is_some_and(|it| undone.launched(it.launched_s));
            if of_release { ends(&report.lines).pop() } else { None }
        };
        let end = written.iter().find_map(ended);
        roll_out = Some(RollOut { end, ..undone });
    }
    let all = Current { group: group.as_ref().and_then(Option::as_ref), roll_out: roll_out.as_ref() };
    let is_current = |it: &Instance| all.has(&it.id, it.launched_s);
    // Reports of healthy instances explain nothing, unless their service exits again and again; nor do those of other
    // releases, and of instances that EC2 no longer lists after an hour.
    let is_meant = |report: &Report| {
        let is_telling = !is_healthy(&report.instance) || report.exits_again(now_s);
        launched(report).is_some_and(is_current) && is_telling
    };
    let reports = written.into_iter().filter(is_meant).collect();
    let evidence = Evidence {
        service: names.service.clone(),
        port: names.port,
        path: names.path.clone(),
        grace_s: names.grace_s,
        instance_type: names.instance_type.clone(),
        now_s,
        group,
        launches,
        instances,
        reports,
        ill: ill.map(|it| it.id),
        console: console.iter().map(|line| Line::parse(line)).collect(),
        has_program,
        targets,
        wiring,
        roll_out,
        denial: log.iter().rev().find_map(|line| service_log::denial(line)),
        unread,
        unreadable_value: None,
    };
    let unreadable_value = match evidence.unreadable() {
        Some(failure) => Some(failure.looked_up(aws).await),
        None => None,
    };
    Evidence { unreadable_value, ..evidence }
}

/// The same about the release that is being rolled out alone. `seen` has the last that was seen of each of its targets that
/// were unhealthy: what is taken out of service loses the reason.
pub async fn collect_release(aws: &Aws, names: &ServiceNames, seen: &BTreeMap<String, Target>) -> Evidence {
    let mut evidence = collect(aws, names).await;
    evidence.limit_to_release(seen);
    evidence
}

/// The resources of the current release: the one that is being rolled out, or else that of the group.
struct Current<'a> {
    group: Option<&'a Group>,
    roll_out: Option<&'a RollOut>,
}

impl Current<'_> {
    /// Whether this instance does.
    fn has(&self, id: &str, launched_s: i64) -> bool {
        let Some(roll_out) = self.roll_out else { return true };
        let wanted = match roll_out.stage {
            Stage::Back => return !roll_out.launched(launched_s),
            Stage::Forward => Some(roll_out.release.as_str()),
            Stage::Over => self.group.and_then(|group| group.release.as_deref()),
        };
        let members = self.group.map(|group| group.members.as_slice()).unwrap_or_default();
        let member = members.iter().find(|member| member.id == id);
        // Instances that had the version already are kept. Of those that have left, only the time is known.
        match (member.and_then(|member| member.release.as_deref()), wanted) {
            (Some(release), Some(wanted)) if wanted.parse::<u64>().is_ok() => release == wanted,
            _ => launched_s >= roll_out.begun_s,
        }
    }
}

impl RollOut {
    /// Whether it launched what was launched at this time.
    fn launched(&self, at_s: i64) -> bool {
        at_s >= self.begun_s && self.undone_s.is_none_or(|undone_s| at_s < undone_s)
    }
}

impl UnreadableValue {
    /// The same with the state of the value in AWS. It stays unknown without permission to read it.
    async fn looked_up(self, aws: &Aws) -> UnreadableValue {
        let (_, place) = self.what.split_once(" from the ").unwrap_or_default();
        let (store, name) = match place.split_once(' ') {
            Some(("secret", name)) => (Store::Secret, name),
            Some(("parameter", name)) => (Store::Parameter, name),
            _ => return self,
        };
        let presence = look(|| presence(aws, store, name)).await.ok();
        UnreadableValue { presence, ..self }
    }
}

impl Evidence {
    /// The value kept in AWS that could not be read, unless the program has run since.
    fn unreadable(&self) -> Option<UnreadableValue> {
        let lines = self.report().map_or(self.console.as_slice(), |report| report.lines.as_slice());
        let at = lines.iter().rposition(|line| line.text.contains(UNREADABLE))?;
        if lines[at..].iter().any(has_run) {
            return None;
        }
        let (_, what) = lines[at].text.split_once(UNREADABLE)?;
        let is_why = |line: &&Line| WHYS.iter().chain(UNREACHABLE).any(|why| line.text.contains(why));
        let why = lines[..at].iter().rev().take(LAST_LINES).find(is_why).map(|line| line.text.clone());
        Some(UnreadableValue { what: what.trim().into(), why: why.unwrap_or_default(), presence: None })
    }

    /// Drops what is not of the release that is being rolled out.
    fn limit_to_release(&mut self, seen: &BTreeMap<String, Target>) {
        let Some(roll_out) = self.roll_out.clone() else { return };
        let group = self.group.clone().flatten();
        let current = Current { group: group.as_ref(), roll_out: Some(&roll_out) };
        self.instances.retain(|it| current.has(&it.id, it.launched_s));
        let is_new = |id: &str| self.instances.iter().any(|it| it.id == id);
        self.launches.retain(|launch| launch.at_s >= roll_out.begun_s);
        let is_telling = |target: &Target| !target.state.contains("draining");
        self.targets.retain(|target| is_new(&target.id) && (is_telling(target) || !seen.contains_key(&target.id)));
        let lost = seen.values().filter(|it| !self.targets.iter().any(|target| target.id == it.id));
        let lost: Vec<Target> = lost.cloned().collect();
        self.targets.extend(lost);
        if !self.ill.as_deref().is_some_and(is_new) {
            (self.ill, self.console, self.has_program, self.unreadable_value) = (None, Vec::new(), None, None);
        }
    }

    /// The most informative report: one with the exits of the unhealthy instance, or else of one whose service exits again
    /// and again; then any of the unhealthy instance, else the newest one. `None` if the console has more.
    pub fn report(&self) -> Option<&Report> {
        let mut reports = self.reports.iter().filter(|report| !report.lines.is_empty());
        let of_ill = |report: &&Report| Some(&report.instance) == self.ill.as_ref();
        let ended = |report: &&Report| of_ill(report) && !ends(&report.lines).is_empty();
        // Every console has the lines of cloud-init.
        let has_more = self.console.iter().any(|line| !matches!(line.program.as_str(), "" | "cloud-init"));
        let told = reports.clone().find(ended).or_else(|| reports.clone().find(|it| it.exits_again(self.now_s)));
        told.or_else(|| reports.clone().find(of_ill)).or_else(|| if has_more { None } else { reports.next() })
    }

    /// The evidence in lines: failed launches, target health, and the last output of an instance.
    pub fn summary(&self) -> Vec<String> {
        let mut summary = self.unread.clone();
        summary.extend(self.denial.iter().map(|line| format!("its log has: {line}")));
        let mut failures: Vec<&String> = self.launches.iter().filter_map(|launch| launch.failure.as_ref()).collect();
        failures.dedup();
        summary.extend(failures.iter().take(3).map(|failure| format!("a launch failed: {failure}")));
        summary.extend(self.targets.iter().filter(|target| target.state != "healthy").map(ToString::to_string));
        let (heading, lines) = match (self.report(), &self.ill) {
            (Some(report), _) => (format!("the report of {} ends with:", report.instance), report.lines.as_slice()),
            (None, Some(ill)) => (format!("the console of {ill} ends with:"), self.console.as_slice()),
            (None, None) => (String::new(), &[][..]),
        };
        if !lines.is_empty() {
            summary.push(heading);
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            summary.extend(last.iter().map(|line| format!("  {}: {}", line.program, line.text)));
        }
        summary
    }
}

/// The beginnings of messages of the AWS CLI and jq, besides [`UNREACHABLE`].
const WHYS: &[&str] = &["An error occurred (", "Unable to locate credentials", UNFIT];

/// The beginning of jq's message about a value that cannot be a variable.
pub const UNFIT: &str = "jq: error";

/// The beginnings of the AWS CLI's messages about a service that it cannot reach (botocore/exceptions.py).
pub const UNREACHABLE: &[&str] =
    &["Could not connect to", "Connect timeout on", "Connection was closed", "Read timeout on"];

/// The most lines of a report shown.
const LAST_LINES: usize = 12;

/// Records a failed read, and continues without its result.
pub fn keep<T>(unread: &mut Vec<String>, what: &str, read: Result<T, Fault>) -> Option<T> {
    read.map_err(|fault| unread.push(self::unread(what, &fault))).ok()
}

/// The message about a failed read.
pub fn unread(what: &str, fault: &Fault) -> String {
    format!("could not read {what}: {}", denied_or_said(fault))
}

/// Whether a read failed because the caller lacks the permission.
pub fn is_denied(fault: &Fault) -> bool {
    fault.code.contains("AccessDenied") || fault.code.contains("Unauthorized")
}

/// Returns why a read failed. Of a denial only the operation is interesting.
pub fn denied_or_said(fault: &Fault) -> String {
    match is_denied(fault) {
        true => format!("denied ({})", fault.operation),
        false => fault.to_string(),
    }
}

pub(in crate::cloud) async fn group(aws: &Aws, names: &ServiceNames) -> Result<Option<Group>, Fault> {
    let found = health::describe(aws, &names.group).await?;
    Ok(found.map(|group| Group {
        suspended: group.suspended_processes().iter().filter_map(|it| it.process_name().map(str::to_owned)).collect(),
        target_groups: group.target_group_arns().to_vec(),
        min: group.min_size().unwrap_or_default(),
        downtime: downtime(tags_of(&group), group.max_size()),
        release: group.launch_template().and_then(|it| it.version()).map(str::to_owned),
        members: group.instances().iter().map(member).collect(),
    }))
}

/// The newest roll-out.
async fn roll_out(aws: &Aws, names: &ServiceNames) -> Result<Option<RollOut>, Fault> {
    let call = aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(&names.group).max_records(1);
    let Some(answer) = found(call.send().await)? else { return Ok(None) };
    Ok(answer.instance_refreshes().first().map(|refresh| {
        let desired = refresh.desired_configuration().and_then(|desired| desired.launch_template());
        let undone = refresh.rollback_details().and_then(|details| details.rollback_start_time());
        let stage = match (refresh.status(), auto_scaling_group::in_progress(refresh)) {
            (_, Some((_, true))) => Stage::Forward,
            (Some(status), _) if auto_scaling_group::is_undone(status) => Stage::Back,
            _ => Stage::Over,
        };
        RollOut {
            release: desired.and_then(|template| template.version()).unwrap_or_default().to_owned(),
            begun_s: refresh.start_time().map_or(0, |at| at.secs()),
            undone_s: undone.or(refresh.end_time()).map(|at| at.secs()),
            stage,
            why: auto_scaling_group::undone(refresh),
            is_alarmed: auto_scaling_group::alarmed(refresh).is_some(),
            end: None,
        }
    }))
}

fn member(it: &aws_sdk_autoscaling::types::Instance) -> Member {
    Member {
        id: it.instance_id().unwrap_or_default().into(),
        zone: it.availability_zone().unwrap_or_default().into(),
        lifecycle: it.lifecycle_state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
        release: it.launch_template().and_then(|it| it.version()).map(str::to_owned),
    }
}

pub(in crate::cloud) async fn launches(aws: &Aws, names: &ServiceNames) -> Result<Vec<Launch>, Fault> {
    let activities = found(health::activities(aws, &names.group).await)?.unwrap_or_default();
    Ok(activities
        .iter()
        .map(|activity| Launch {
            failure: activity
                .status_message()
                .filter(|_| activity.status_code() == Some(&Status::Failed))
                .map(str::to_owned),
            cause: activity.cause().unwrap_or_default().into(),
            instance: instance_of(activity.description().unwrap_or_default()).into(),
            ends: activity.description().is_some_and(|text| text.starts_with("Terminating")),
            at_s: activity.start_time().map_or(0, |at| at.secs()),
        })
        .collect())
}

/// The instance that an activity is about: `Launching a new EC2 instance: i-…` (docs/aws.md §10.4).
pub fn instance_of(description: &str) -> &str {
    description.split_whitespace().find(|word| word.starts_with("i-")).unwrap_or_default()
}

pub(in crate::cloud) async fn instances(aws: &Aws, names: &ServiceNames) -> Result<Vec<Instance>, Fault> {
    let filter = tags::ec2_filter("tag:aws:autoscaling:groupName", [names.group.as_str()]);
    let answer = aws.ec2.describe_instances().filters(filter).send().await?;
    let all = answer.reservations().iter().flat_map(|it| it.instances());
    let mut found: Vec<Instance> = all
        .map(|it| Instance {
            id: it.instance_id().unwrap_or_default().into(),
            zone: it.placement().and_then(|it| it.availability_zone()).unwrap_or_default().into(),
            state: it.state().and_then(|state| state.name()).map(|name| name.as_str()).unwrap_or_default().into(),
            reason: it.state_reason().and_then(|reason| reason.message()).unwrap_or_default().into(),
            launched_s: it.launch_time().map_or(0, |at| at.secs()),
            profile: it.iam_instance_profile().and_then(|profile| profile.arn()).map(str::to_owned),
            groups: it.security_groups().iter().filter_map(|group| group.group_id().map(str::to_owned)).collect(),
            is_impaired: false,
        })
        .collect();
    found.sort_by_key(|it| std::cmp::Reverse(it.launched_s));
    Ok(found)
}

async fn impaired(aws: &Aws, instances: &[Instance]) -> Result<Vec<String>, Fault> {
    let running: Vec<String> = instances.iter().filter(|it| it.state == "running").map(|it| it.id.clone()).collect();
    if running.is_empty() {
        return Ok(Vec::new());
    }
    let answer = aws.ec2.describe_instance_status().set_instance_ids(Some(running)).send().await?;
    let is_ill = |status: Option<&aws_sdk_ec2::types::InstanceStatusSummary>| {
        status.and_then(|it| it.status()).is_some_and(|status| status.as_str() == "impaired")
    };
    let ill = answer.instance_statuses().iter().filter(|it| is_ill(it.instance_status()) || is_ill(it.system_status()));
    Ok(ill.filter_map(|it| it.instance_id().map(str::to_owned)).collect())
}

/// Checks for the program that the instance's user data names; `None` if the user data is not ours.
async fn has_program(aws: &Aws, names: &ServiceNames, instance: &str) -> Result<Option<bool>, Fault> {
    let call = aws.ec2.describe_instance_attribute().instance_id(instance);
    let answer = call.attribute(InstanceAttributeName::UserData).send().await?;
    let encoded = answer.user_data().and_then(|it| it.value()).unwrap_or_default();
    let text = String::from_utf8(STANDARD.decode(encoded).unwrap_or_default()).unwrap_or_default();
    let Some(program) = program(&text).filter(|it| it.bucket == names.reports.bucket) else { return Ok(None) };
    let head = aws.s3.head_object().bucket(program.bucket).key(program.key).send().await;
    Ok(Some(found(head)?.is_some()))
}

pub(in crate::cloud) async fn wiring(aws: &Aws, names: &ServiceNames) -> Result<Wiring, Fault> {
    let (groups, balancers) = futures::join!(
        aws.elb.describe_target_groups().names(&names.target_group).send(),
        aws.elb.describe_load_balancers().names(&names.balancer).send(),
    );
    let (groups, balancers) = (found(groups)?, found(balancers)?);
    let target_group = groups.and_then(|it| it.target_groups?.into_iter().next()?.target_group_arn).unwrap_or_default();
    let Some(balancer) = balancers.and_then(|it| it.load_balancers?.into_iter().next()) else {
        return Ok(Wiring { target_group, ..Wiring::default() });
    };
    let arn = balancer.load_balancer_arn().unwrap_or_default();
    let listeners = aws.elb.describe_listeners().load_balancer_arn(arn).send().await?;
    let on_port = |port: i32| listeners.listeners().iter().find(move |it| it.port() == Some(port));
    let https = on_port(HTTPS_PORT.into()).filter(|it| it.protocol() == Some(&ProtocolEnum::Https));
    // Requests to a listener that redirects reach the other one.
    let listener = on_port(names.front_port).map(|it| https.filter(|_| redirect(it).is_some()).unwrap_or(it));
    let forwards = match listener {
        Some(it) if names.behind.is_some() => {
            rule::sends_to(aws, it.listener_arn().unwrap_or_default(), &target_group).await?
        }
        Some(it) => forwards(it).get(&target_group).is_some_and(|share| *share > 0),
        None => false,
    };
    Ok(Wiring {
        is_https: https.is_some(),
        listens: listener.is_some(),
        forwards,
        has_rule: names.behind.is_some(),
        host: balancer.dns_name().unwrap_or_default().into(),
        zones: balancer.availability_zones().len(),
        front: balancer.security_groups().to_vec(),
        target_group,
        admits: None,
    })
}

async fn admits(
    aws: &Aws,
    names: &ServiceNames,
    instance: Option<&Instance>,
    wiring: Option<&Wiring>,
) -> Result<Option<bool>, Fault> {
    let (Some(instance), Some(wiring)) = (instance, wiring.filter(|it| !it.front.is_empty())) else { return Ok(None) };
    if instance.groups.is_empty() {
        return Ok(None);
    }
    let answer = aws.ec2.describe_security_groups().set_group_ids(Some(instance.groups.clone())).send().await?;
    let port = i32::from(names.port);
    let rules = answer.security_groups().iter().flat_map(|group| group.ip_permissions());
    let covers =
        |from: Option<i32>, to: Option<i32>| from.is_none_or(|it| it <= port) && to.is_none_or(|it| it >= port);
    let mut fitting = rules
        .filter(|rule| matches!(rule.ip_protocol(), Some("tcp" | "-1")))
        .filter(|rule| covers(rule.from_port(), rule.to_port()));
    let by_group = |id: &str| wiring.front.iter().any(|front| front == id);
    Ok(Some(fitting.any(|rule| {
        // A rule for addresses may admit the load balancer, too; its addresses are unknown.
        !rule.ip_ranges().is_empty()
            || rule.user_id_group_pairs().iter().any(|pair| pair.group_id().is_some_and(by_group))
    })))
}
