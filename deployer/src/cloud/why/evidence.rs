//! Reads the evidence about a service. Reads are independent: a denied one is reported and does not hide the others.

mod failed_reads;
mod instance;
mod routing;
mod scaling;
mod value;

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Reports,
    causes::has_run,
    report::{Line, Report, ends},
    reports,
    service_log::{self, DENIED_WITHIN_S},
};
use crate::{
    cloud::{
        aws::Aws,
        health::{self, Target},
    },
    config::Behind,
    engine::look,
    kinds::elastic_address::ElasticAddress,
    page::user_data::UNREADABLE,
};

pub use failed_reads::{failure_reason, is_denied, keep, unread};
pub(in crate::cloud) use instance::instances;
pub use instance::{Instance, instance_of};
use instance::{has_program, impaired};
pub use routing::Wiring;
use routing::admits;
pub(in crate::cloud) use routing::wiring;
use scaling::{Current, roll_out};
pub use scaling::{Group, Launch, Member, RollOut, Stage};
pub(in crate::cloud) use scaling::{group, launches};
use value::WHYS;
pub use value::{UNFIT, UNREACHABLE, UnreadableValue};

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
    /// The statuses that count as success.
    pub matcher: String,
    /// The elastic IP address that it has in place of a load balancer.
    pub address: Option<ElasticAddress>,
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
        match (&arn, wiring.as_ref().and_then(|wiring| wiring.address.as_ref())) {
            (Some(arn), _) => health::targets(aws, arn).await,
            (None, Some(address)) => Ok(health::probed(names, address).await),
            (None, None) => Ok(Vec::new()),
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
        let with_exits = reports.clone().find(ended).or_else(|| reports.clone().find(|it| it.exits_again(self.now_s)));
        with_exits.or_else(|| reports.clone().find(of_ill)).or_else(|| if has_more { None } else { reports.next() })
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

/// The most lines of a report shown.
const LAST_LINES: usize = 12;
