//! The table of causes; the first one that matches the evidence is reported.
//!
//! Certain causes come before likely ones, and causes early in the path of a request before later ones.

use super::{
    evidence::{Evidence, Launch, Stage, UNFIT, UNREACHABLE, UnreadableValue},
    report::{End, Line, ends},
};
use crate::{
    cloud::{health::refusal_of, stored_values::Presence},
    page::user_data::SETUP,
};

/// Why something is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The name of the cause.
    pub cause: &'static str,
    /// One sentence, without the name of the service.
    pub words: String,
    /// The remedy.
    pub remedy: String,
    /// The field of the service in `stack.yaml` that decides it; empty if none does.
    pub field: &'static str,
}

/// A cause for a service that is not healthy.
struct Cause {
    name: &'static str,
    /// Returns the sentence if the evidence matches.
    shown: fn(&Evidence) -> Option<String>,
    remedy: &'static str,
    field: &'static str,
}

const fn cause(
    name: &'static str,
    shown: fn(&Evidence) -> Option<String>,
    remedy: &'static str,
    field: &'static str,
) -> Cause {
    Cause { name, shown, remedy, field }
}

const UP: &str = "run `up`, which reverts the manual change";

const CAUSES: &[Cause] = &[
    cause("alarm", alarm, "correct the service, and run `up`; `bake: 0` turns the alarms off", "bake"),
    cause("rolled-back", rolled_back, "correct the service, and run `up`", ""),
    cause("no-group", no_group, "run `up`", ""),
    cause(
        "suspended",
        suspended,
        "resume it by hand: `aws autoscaling resume-processes --auto-scaling-group-name NAME`",
        "",
    ),
    cause("detached", detached, UP, ""),
    cause("no-listener", no_listener, UP, "load_balancer.port"),
    cause("listener-elsewhere", listener_elsewhere, UP, "load_balancer.port"),
    cause("launch-refused", launch_refused, "", "instance_type"),
    cause("firewall", firewall, UP, "port"),
    cause("no-instances", no_instances, "set `instances.min` to 1 or more", "instances.min"),
    cause("impaired", impaired, "the group replaces it by itself: wait, or terminate the instance", ""),
    cause("user-data", user_data, "correct what cloud-init names, then run `up`", "environment"),
    cause("disk-full", disk_full, "raise `disk_gb`, or make the service store less", "disk_gb"),
    cause("no-profile", no_profile, "run `up`; with `roles`, name an instance profile that has a role", ""),
    cause(
        "fetch-denied",
        fetch_denied,
        "run `up`, which restores the role's policy; with `roles`, allow it `s3:GetObject` on the artifact bucket",
        "uses",
    ),
    cause(
        "secret-missing",
        secret_missing,
        "set it with `deployer secret set`: each instance tries again, about every 20 s",
        "environment",
    ),
    cause(
        "secret-denied",
        secret_denied,
        "run `up`, which restores the role's policy; with `roles`, allow it `secretsmanager:GetSecretValue` or \
         `ssm:GetParameter`, and with a key of your own `kms:Decrypt`",
        "environment",
    ),
    cause(
        "secret-unreachable",
        secret_unreachable,
        "give its subnets a route to the internet, or the network an interface endpoint of `secretsmanager` or `ssm`",
        "environment",
    ),
    cause(
        "secret-unfit",
        secret_unfit,
        "correct `key`, or set another value with `deployer secret set`",
        "environment",
    ),
    cause(
        "secret-unread",
        secret_unread,
        "correct what the message names: each instance tries again, about every 20 s",
        "environment",
    ),
    cause("program-missing", program_missing, "run `up`, which uploads the program again", "package"),
    cause("program-damaged", program_damaged, "run `up`, which uploads the program again", "package"),
    cause(
        "packages",
        packages,
        "correct `packages`: `dnf search` on an instance, or the list of packages of Amazon Linux 2023, has the names",
        "packages",
    ),
    cause("setup", setup, "correct `setup` or the files of the folder, and run `up`", "setup"),
    cause(
        "architecture",
        architecture,
        "choose an `instance_type` of the program's architecture, or build the program for it",
        "instance_type",
    ),
    cause(
        "newer-libraries",
        newer_libraries,
        "build it with `package`, which links against the C library of Amazon Linux 2023",
        "package",
    ),
    cause(
        "out-of-memory",
        out_of_memory,
        "choose a larger `instance_type`, or make the service use less memory",
        "instance_type",
    ),
    cause("denied", denied, "add what the service uses to `uses`, and run `up`", "uses"),
    cause("port-taken", port_taken, "choose another `port`", "port"),
    cause(
        "command-missing",
        command_missing,
        "correct `run`, add the package with the program to `packages`, or install it in `setup`",
        "run",
    ),
    cause("exits", exits, "correct the service or its `environment`, and run `up`", "environment"),
    cause(
        "setting-up",
        setting_up,
        "wait; if it takes longer than the grace period, raise `grace_period_s`: the group replaces the instance before it is \
         ready",
        "setup",
    ),
    cause(
        "another-port",
        another_port,
        "make the service listen on 0.0.0.0 and the port in the variable PORT, or raise `grace_period_s`",
        "port",
    ),
    cause(
        "wrong-path",
        wrong_path,
        "correct `health_check.path`, or make the service answer it with 200",
        "health_check",
    ),
    cause("health-error", health_error, "make the service answer its health check with 200", "health_check"),
    cause("health-failed", health_failed, "make the service answer its health check with 200", "health_check"),
    cause("slow-start", slow_start, "raise `grace_period_s`, or make it start faster", "grace_period_s"),
    cause(
        "no-answer",
        no_answer,
        "find out why the service is slow, or raise `health_check.timeout_s`",
        "health_check",
    ),
    cause("stopped", stopped, "the group replaces it by itself: wait", ""),
    cause("starting", starting, "wait", ""),
];

/// Returns the first cause that matches the evidence, if any.
pub fn verdict(evidence: &Evidence) -> Option<Verdict> {
    let found = |cause: &Cause| Some((cause.name, (cause.shown)(evidence)?, cause.remedy, cause.field));
    let (cause, words, remedy, field) = CAUSES.iter().find_map(found)?;
    // Refused launches have a table of remedies of their own.
    let remedy = match cause {
        "launch-refused" => refusal_of(&words).map_or("correct what AWS names, then run `up`", |it| it.advice),
        _ => remedy,
    };
    Some(Verdict { cause, words, remedy: remedy.into(), field })
}

impl Evidence {
    /// Whether the service is healthy and reachable.
    pub fn is_up(&self) -> bool {
        self.healthy() >= self.wanted() && self.wiring.as_ref().is_none_or(|wiring| wiring.listens && wiring.forwards)
    }

    /// Whether nothing is wrong: it is up, its service stays up, no call of it was denied lately, and no new release of it
    /// fails.
    pub fn is_well(&self) -> bool {
        self.is_up() && !self.exits_again() && self.denial.is_none() && !self.fails_roll_out()
    }

    /// Whether the newest release was rolled back.
    pub fn is_rolled_back(&self) -> bool {
        self.roll_out.as_ref().is_some_and(|it| it.stage == Stage::Back)
    }

    /// Whether the service exits again and again, on an instance that is found healthy in between, or one that was replaced.
    fn exits_again(&self) -> bool {
        self.reports.iter().any(|report| report.exits_again(self.now_s))
    }

    /// Whether an instance of the release that is being rolled out is not healthy, or one has been replaced.
    fn fails_roll_out(&self) -> bool {
        let Some(roll_out) = self.roll_out.as_ref().filter(|it| it.stage == Stage::Forward) else { return false };
        let members = self.group.iter().flatten().flat_map(|group| &group.members);
        let new = members.filter(|member| member.release.as_ref() == Some(&roll_out.release));
        let new: Vec<&str> = new.map(|member| member.id.as_str()).collect();
        let is_ill = |state: &str| matches!(state, "unhealthy" | "unhealthy.draining" | "unavailable");
        let has_exited =
            |id: &str| self.reports.iter().any(|report| report.instance == id && !ends(&report.lines).is_empty());
        self.targets.iter().any(|target| new.contains(&target.id.as_str()) && is_ill(&target.state))
            || new.iter().any(|id| has_exited(id))
            || self.replaced(roll_out.begun_s).next().is_some()
    }

    /// The launches since this time whose instance the group has replaced, because it was unhealthy after its grace period.
    fn replaced(&self, since_s: i64) -> impl Iterator<Item = &Launch> {
        let is_replaced = |id: &str| self.launches.iter().any(|it| it.ends && it.is_replacement() && it.instance == id);
        let launches = self.launches.iter().filter(move |it| !it.ends && it.at_s >= since_s);
        launches.filter(move |it| !it.instance.is_empty() && is_replaced(&it.instance))
    }

    /// The last instance that was launched to the end, if the group has replaced it: the one launched in its place is
    /// starting. One of an earlier release does not count.
    fn last_replaced(&self) -> Option<&Launch> {
        let launched: Vec<&Launch> = self.launches.iter().filter(|it| !it.ends && !it.instance.is_empty()).collect();
        let since_s = self.roll_out.as_ref().map_or(i64::MIN, |roll_out| match roll_out.stage {
            Stage::Back => roll_out.undone_s.unwrap_or(i64::MAX),
            Stage::Forward | Stage::Over => roll_out.begun_s,
        });
        self.replaced(since_s).find(|it| launched.iter().take(2).any(|newest| newest.instance == it.instance))
    }

    /// The number of healthy targets.
    pub fn healthy(&self) -> usize {
        self.targets.iter().filter(|target| target.state == "healthy").count()
    }

    /// The number of healthy targets required: the minimum of the group, and at least one.
    pub fn wanted(&self) -> usize {
        let min = self.group.iter().flatten().map(|group| group.min).next().unwrap_or_default();
        usize::try_from(min).unwrap_or_default().max(1)
    }

    /// The output of an instance.
    fn lines(&self) -> &[Line] {
        self.report().map_or(self.console.as_slice(), |report| report.lines.as_slice())
    }

    /// The last exit of the service.
    fn last_end(&self) -> Option<End> {
        ends(self.lines()).pop()
    }

    /// The last line that contains one of these words.
    fn line(&self, words: &[&str]) -> Option<&Line> {
        let has = |line: &&Line| words.iter().any(|word| line.text.contains(word));
        self.lines().iter().rev().find(has).or_else(|| self.console.iter().rev().find(has))
    }

    /// The last line of the download that contains one of these words, unless the program has run since: a download may
    /// fail at first, while the role is not in force everywhere yet.
    fn failed_download(&self, words: &[&str]) -> Option<&Line> {
        let has = |line: &&Line| words.iter().any(|word| line.text.contains(word));
        let last = |lines| -> Option<&Line> {
            let lines: &[Line] = lines;
            lines.iter().rev().take_while(|line| !has_run(line)).find(has)
        };
        last(self.lines()).or_else(|| last(&self.console))
    }

    fn target(&self, reason: &[&str]) -> Option<&crate::cloud::health::Target> {
        self.targets.iter().find(|target| reason.contains(&target.reason.as_str()))
    }

    /// The status that the service answered its own instance: `None` without a report, 0 without an answer.
    fn answered(&self) -> Option<u16> {
        let report = self.reports.iter().find(|report| report.stage == "answers")?;
        report.facts.get("http")?.parse().ok()
    }

    /// Whether the program had begun when the instance reported.
    fn has_begun(&self) -> bool {
        self.reports.iter().any(|report| {
            report.facts.get("ActiveState").is_some_and(|state| state == "active") || report.lines.iter().any(has_run)
        })
    }

    fn statuses(&self) -> Option<String> {
        let target = self.target(&["Target.ResponseCodeMismatch"])?;
        let (_, codes) = target.description.split_once('[')?;
        Some(codes.split(']').next().unwrap_or_default().to_owned())
    }
}

/// The programs that write to the journal of a service before its program runs; empty if unknown.
const TOOLS: &[&str] = &["", "systemd", "aws", "bash", "sha256sum", "chmod", "cloud-init", SETUP];

/// Whether the program has run when this line was written.
pub(super) fn has_run(line: &Line) -> bool {
    !TOOLS.contains(&line.program.as_str()) || line.text.contains("Main process exited")
}

/// The service is healthy again, with the release before.
fn alarm(it: &Evidence) -> Option<String> {
    let roll_out = it.roll_out.as_ref().filter(|roll_out| roll_out.stage == Stage::Back && it.is_well())?;
    let why = roll_out.why.as_ref().filter(|_| roll_out.is_alarmed)?;
    Some(format!("AWS rolled release {} back: {why}", roll_out.release))
}

/// The same for any other reason.
fn rolled_back(it: &Evidence) -> Option<String> {
    let roll_out = it.roll_out.as_ref().filter(|roll_out| roll_out.stage == Stage::Back && it.is_well())?;
    let undone = format!("release {} was rolled back", roll_out.release);
    Some(match (&roll_out.end, &roll_out.why) {
        (Some(end), _) => format!("{undone}: its service {end}"),
        (None, Some(why)) => format!("{undone}: {why}"),
        (None, None) => undone,
    })
}

fn no_group(it: &Evidence) -> Option<String> {
    matches!(it.group, Some(None)).then(|| "its Auto Scaling group does not exist".into())
}

fn suspended(it: &Evidence) -> Option<String> {
    let suspended = &it.group.as_ref()?.as_ref()?.suspended;
    let matter = ["Launch", "Terminate", "AddToLoadBalancer", "HealthCheck", "ReplaceUnhealthy"];
    let stopped: Vec<&str> = suspended.iter().map(String::as_str).filter(|it| matter.contains(it)).collect();
    (!stopped.is_empty()).then(|| format!("its Auto Scaling group has suspended processes: {}", stopped.join(", ")))
}

fn detached(it: &Evidence) -> Option<String> {
    let (group, wiring) = (it.group.as_ref()?.as_ref()?, it.wiring.as_ref()?);
    let is_there = wiring.target_group.is_empty() || group.target_groups.contains(&wiring.target_group);
    (!is_there).then(|| "its target group is not attached to its Auto Scaling group".into())
}

fn no_listener(it: &Evidence) -> Option<String> {
    it.wiring.as_ref().filter(|it| !it.listens).map(|_| "its load balancer has no listener on its port".into())
}

fn listener_elsewhere(it: &Evidence) -> Option<String> {
    let wiring = it.wiring.as_ref().filter(|it| it.listens && !it.forwards)?;
    // During a move to another port, the listener still forwards to the old targets.
    let is_rolled_out =
        it.targets.iter().any(|target| target.state == "healthy") || it.target(&["Target.NotInUse"]).is_some();
    (is_rolled_out && !wiring.target_group.is_empty()).then(|| match wiring.has_rule {
        true => "no rule of the listener forwards to its target group".into(),
        false => "its listener forwards to another target group".into(),
    })
}

fn launch_refused(it: &Evidence) -> Option<String> {
    let failure = it.launches.first()?.failure.as_ref()?;
    Some(format!("AWS refuses to launch an instance: {failure}"))
}

fn firewall(it: &Evidence) -> Option<String> {
    let closed = it.wiring.as_ref()?.admits == Some(false);
    closed.then(|| format!("the security group of its instances does not admit the load balancer on port {}", it.port))
}

fn no_instances(it: &Evidence) -> Option<String> {
    let is_empty = it.group.as_ref()?.as_ref()?.min == 0 && it.instances.iter().all(|it| it.state == "terminated");
    (is_empty && it.targets.is_empty())
        .then(|| "its Auto Scaling group has a minimum of 0, and no instance is running".into())
}

fn impaired(it: &Evidence) -> Option<String> {
    let ill = it.instances.iter().find(|it| it.is_impaired)?;
    Some(format!("instance {} fails the status checks of EC2", ill.id))
}

fn user_data(it: &Evidence) -> Option<String> {
    let is_about = |line: &&Line| {
        let text = &line.text;
        text.contains("cloud-init") && (text.contains("ERROR") || text.contains("Failed") || text.contains("CRITICAL"))
            || line.program == "cloud-init"
                && (text.contains("ERROR") || text.contains("Failed") || text.contains("Unhandled"))
    };
    // An instance that reports has been set up. Reports of other instances prove nothing about it.
    let has_reported = it.reports.iter().any(|report| Some(&report.instance) == it.ill.as_ref());
    let line = it.console.iter().find(is_about).filter(|_| !has_reported)?;
    Some(format!("cloud-init failed on the instance: {}", line.text))
}

fn disk_full(it: &Evidence) -> Option<String> {
    let line = it.line(&["No space left on device", "ENOSPC"])?;
    Some(format!("the disk of its instances is full: {}", line.text))
}

fn no_profile(it: &Evidence) -> Option<String> {
    let newest = it.instances.iter().find(|it| it.state == "running")?;
    let lacks = it.failed_download(&["Unable to locate credentials"]).is_some() || newest.profile.is_none();
    lacks.then(|| "its instances have no role, so they cannot download the program".into())
}

fn failed_fetch(it: &Evidence, words: &[&str]) -> Option<String> {
    let line = it.failed_download(&["fatal error"])?;
    words.iter().any(|word| line.text.contains(word)).then(|| line.text.clone())
}

fn fetch_denied(it: &Evidence) -> Option<String> {
    let line = failed_fetch(it, &["AccessDenied", "Forbidden", "403", "not authorized"])?;
    if it.has_program == Some(false) {
        return None;
    }
    Some(format!("its instances are not allowed to download the program: {line}"))
}

/// The role of a service may read its own secrets only: AWS denies it one that does not exist (docs/aws.md §23).
fn secret_missing(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref()?;
    let what = &value.what;
    if let Some(lack) = value.presence.as_ref().and_then(Presence::lack) {
        return Some(format!("it cannot read {what}, which {lack}"));
    }
    let codes = ["ResourceNotFoundException", "ParameterNotFound", "InvalidRequestException"];
    let is_missing = codes.iter().any(|code| value.why.contains(code));
    is_missing.then(|| format!("it cannot read {what}: {}", value.why))
}

fn secret_denied(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref().filter(|value| value.why.contains("AccessDenied"))?;
    Some(format!("its role may not read {}: {}", value.what, value.why))
}

fn secret_unreachable(it: &Evidence) -> Option<String> {
    let is_unreachable = |value: &&UnreadableValue| UNREACHABLE.iter().any(|words| value.why.contains(words));
    let value = it.unreadable_value.as_ref().filter(is_unreachable)?;
    Some(format!("its instances do not reach the service that keeps {}: {}", value.what, value.why))
}

fn secret_unfit(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref().filter(|value| value.why.contains(UNFIT))?;
    Some(format!("it cannot read {}: {}", value.what, value.why))
}

fn secret_unread(it: &Evidence) -> Option<String> {
    let value = it.unreadable_value.as_ref()?;
    Some(format!("it cannot read {}: {}", value.what, value.why))
}

fn program_missing(it: &Evidence) -> Option<String> {
    let line = match it.has_program {
        Some(false) => failed_fetch(it, &[""])?,
        _ => failed_fetch(it, &["NoSuchKey", "Not Found", "404", "NoSuchBucket"])?,
    };
    Some(format!("the program is not in the artifact bucket: {line}"))
}

fn program_damaged(it: &Evidence) -> Option<String> {
    it.failed_download(&["did NOT match"])
        .map(|_| "the program in the artifact bucket is not the one that was built".into())
}

fn packages(it: &Evidence) -> Option<String> {
    let line = it.failed_download(&[
        "Error: Unable to find a match",
        "Error: Failed to download metadata",
        "Error: local AWS:",
    ])?;
    Some(format!("dnf cannot install its `packages`: {}", line.text.trim_start_matches("Error: ")))
}

fn setup(it: &Evidence) -> Option<String> {
    it.last_end().filter(|end| end.is_setup).map(|end| format!("it {end}"))
}

/// The exit code of bash if there is no such command. A program without one of its libraries has the same.
const NOT_FOUND: u32 = 127;

fn command_missing(it: &Evidence) -> Option<String> {
    let end = it.last_end().filter(|end| end.is_program && end.status == NOT_FOUND)?;
    let before =
        end.words.strip_suffix(": command not found").or(end.words.strip_suffix(": No such file or directory"))?;
    let (_, program) = before.strip_prefix("run: line ")?.split_once(": ")?;
    Some(format!("its instances do not have {program}, which `run` starts: it {end}"))
}

fn architecture(it: &Evidence) -> Option<String> {
    it.line(&["Exec format error"])
        .map(|_| format!("the program is built for another architecture than that of {}", it.instance_type))
}

fn newer_libraries(it: &Evidence) -> Option<String> {
    let line = it.line(&["version `GLIBC_"]).filter(|line| line.text.contains("not found"))?;
    Some(format!("the program needs a newer C library than its instances have: {}", line.text))
}

fn out_of_memory(it: &Evidence) -> Option<String> {
    let end = it.last_end()?;
    let message =
        it.line(&["memory allocation of", "Out of memory", "oom-kill", "OutOfMemory", "Cannot allocate memory"]);
    (message.is_some() || end.name == "OOM")
        .then(|| format!("the service needs more memory than {} has: it {end}", it.instance_type))
}

fn denied(it: &Evidence) -> Option<String> {
    let line = it.line(&["is not authorized to perform"]).filter(|line| !["aws", "bash"].contains(&&*line.program));
    let text = line.map(|line| &line.text).or(it.denial.as_ref())?;
    Some(format!("the service lacks a permission: {text}"))
}

fn port_taken(it: &Evidence) -> Option<String> {
    let line = it.line(&["Address already in use", "EADDRINUSE", "cannot listen on port"])?;
    Some(format!("the service cannot listen on port {}: {}", it.port, line.text))
}

fn exits(it: &Evidence) -> Option<String> {
    let end = it.last_end()?;
    let restarts = it.reports.iter().map(super::report::Report::restarts).max().unwrap_or_default();
    let often = if restarts > 1 { format!(", {} times so far", restarts + 1) } else { String::new() };
    Some(match end.is_program {
        true => format!("the service {end}{often}"),
        false => format!("the service cannot be started: {}", end.words),
    })
}

/// The last output is that of a `setup` that has not ended.
fn setting_up(it: &Evidence) -> Option<String> {
    let lines = it.lines();
    let last = lines.iter().rposition(|line| line.program == SETUP)?;
    let is_over = |line: &Line| has_run(line) || line.text.contains(" process exited");
    (!it.has_begun() && !lines[last..].iter().any(is_over)).then(|| "its `setup` is still running".into())
}

fn another_port(it: &Evidence) -> Option<String> {
    let refused = it.target(&["Target.FailedHealthChecks", "Target.Timeout"]).is_some();
    (it.answered() == Some(0) && it.has_begun() && (refused || it.last_replaced().is_some()))
        .then(|| format!("the service runs, but did not listen on port {} within two minutes", it.port))
}

fn wrong_path(it: &Evidence) -> Option<String> {
    let codes = it.statuses().filter(|codes| codes.starts_with(['3', '4']))?;
    Some(format!("the service answers its health check, {}, with {codes}", it.path))
}

fn health_error(it: &Evidence) -> Option<String> {
    let codes = it.statuses()?;
    Some(format!("the service answers its health check, {}, with {codes}", it.path))
}

/// A release whose instances have answered their own machine, and were replaced nevertheless.
fn health_failed(it: &Evidence) -> Option<String> {
    it.last_replaced().filter(|_| it.answered().is_some_and(|status| status > 0))?;
    Some(format!("the service runs, but fails its health check, {}, so the group replaces its instances", it.path))
}

fn slow_start(it: &Evidence) -> Option<String> {
    it.last_replaced()?;
    Some(format!("it does not become healthy within {} s, after which the group replaces its instances", it.grace_s))
}

fn no_answer(it: &Evidence) -> Option<String> {
    it.target(&["Target.Timeout", "Target.FailedHealthChecks"])
        .map(|target| format!("its health check, {}, gets no response: {}", it.path, target.description))
}

fn stopped(it: &Evidence) -> Option<String> {
    let target = it.target(&["Target.InvalidState"])?;
    let reason = it.instances.iter().find(|it| it.id == target.id).map(|it| it.reason.as_str()).unwrap_or_default();
    Some(format!("instance {} was stopped or terminated: {reason}", target.id))
}

fn starting(it: &Evidence) -> Option<String> {
    let is_begun =
        it.targets.iter().any(|it| it.state == "initial") || it.instances.iter().any(|it| it.state == "pending");
    is_begun.then(|| "it is starting".into())
}

#[cfg(test)]
mod tests {
    use super::super::{Group, Instance, Launch, Member, RollOut, UnreadableValue, Wiring, report::Report};
    use super::*;
    use crate::cloud::health::Target;

    /// A service whose instance runs and is not healthy, for an unknown reason.
    fn unhealthy() -> Evidence {
        let group = Group { suspended: Vec::new(), target_groups: vec!["tg".into()], min: 1, ..Group::default() };
        let profile = Some("arn:aws:iam::1:instance-profile/web".to_owned());
        let instance = Instance { id: "i-1".into(), state: "running".into(), profile, ..Instance::default() };
        let wiring = Wiring { target_group: "tg".into(), listens: true, forwards: true, ..Wiring::default() };
        Evidence {
            service: "web".into(),
            port: 8080,
            path: "/health".into(),
            grace_s: 120,
            instance_type: "t3.micro".into(),
            group: Some(Some(group)),
            instances: vec![instance],
            wiring: Some(wiring),
            ..Evidence::default()
        }
    }

    fn target(reason: &str, description: &str) -> Vec<Target> {
        let (id, state) = ("i-1".to_owned(), "unhealthy".to_owned());
        vec![Target { id, state, reason: reason.into(), description: description.into() }]
    }

    fn exited(words: &str, end: &str) -> Vec<Report> {
        let line = |program: &str, text: &str| format!("2026 host {program}[1]: {text}\n");
        let text = format!("stage=exit port=8080\nNRestarts=2\n{}{}", line("service", words), line("systemd", end));
        vec![Report::parse("i-1", "exit", 0, &text)]
    }

    fn fetching(words: &str) -> Vec<Report> {
        let text = format!(
            "stage=exit\n2026 host aws[1]: {words}\n2026 host systemd[1]: web.service: Control process exited, code=exited, status=1/FAILURE\n"
        );
        vec![Report::parse("i-1", "exit", 0, &text)]
    }

    fn unreadable(why: &str, presence: Option<Presence>) -> Option<UnreadableValue> {
        Some(UnreadableValue { what: "TOKEN from the secret app/jwt".into(), why: why.into(), presence })
    }

    fn group(change: impl FnOnce(&mut Group)) -> Option<Option<Group>> {
        let mut group = unhealthy().group.flatten().expect("there is one");
        change(&mut group);
        Some(Some(group))
    }

    const CRASH: &str = "web.service: Main process exited, code=exited, status=78/CONFIG";

    #[test]
    fn a_denied_download_is_the_cause_even_if_the_report_is_denied_too() {
        let console =
            ["aws[9]: fatal error: s3://a/b: AccessDenied", "bash[9]: upload failed: is not authorized to perform"];
        let console = console.map(|line| Line::parse(&format!("2026 {line}"))).into();
        let words = verdict(&Evidence { console, ..unhealthy() }).map(|verdict| verdict.words).unwrap_or_default();
        assert!(words.contains("not allowed to download"), "{words}");
    }

    fn failed(text: &str) -> Vec<Launch> {
        vec![Launch { failure: Some(text.into()), ..Launch::default() }]
    }

    /// The launch of an instance at this time, and its replacement, newest first.
    fn replaced(id: &str, at_s: i64) -> [Launch; 2] {
        let cause = "taken out of service in response to an ELB system health check failure".into();
        let launch = launched(id, at_s);
        [Launch { cause, ends: true, at_s: at_s + 240, ..launch.clone() }, launch]
    }

    fn launched(id: &str, at_s: i64) -> Launch {
        Launch { instance: id.into(), at_s, ..Launch::default() }
    }

    fn roll_out(stage: Stage) -> RollOut {
        RollOut { release: "7".into(), begun_s: 100, stage, ..RollOut::default() }
    }

    fn healthy() -> Vec<Target> {
        vec![Target { state: "healthy".into(), ..target("", "").remove(0) }]
    }

    fn wiring(change: fn(&mut Wiring)) -> Option<Wiring> {
        let mut wiring = unhealthy().wiring.expect("there is one");
        change(&mut wiring);
        Some(wiring)
    }

    fn answers(http: &str) -> Vec<Report> {
        let text = format!("stage=answers port=8080 http={http}\nActiveState=active\nSubState=running\n");
        vec![Report::parse("i-1", "answers", 0, &text)]
    }

    /// A cause, a part of its words, and what changes in the evidence of an unhealthy service. The causes have the order
    /// of the table.
    type Case = (&'static str, &'static str, fn(&mut Evidence));

    const CASES: &[Case] = &[
        ("alarm", "AWS rolled release 7 back: too many errors", |it| {
            let why = Some("too many errors".into());
            it.roll_out = Some(RollOut { why, is_alarmed: true, ..roll_out(Stage::Back) });
            it.targets = healthy();
        }),
        ("rolled-back", "release 7 was rolled back: Rolled back by user.", |it| {
            it.roll_out = Some(RollOut { why: Some("Rolled back by user.".into()), ..roll_out(Stage::Back) });
            it.targets = healthy();
        }),
        ("no-group", "does not exist", |it| it.group = Some(None)),
        ("suspended", "processes: Launch", |it| it.group = group(|it| it.suspended.push("Launch".into()))),
        ("detached", "not attached", |it| it.group = group(|it| it.target_groups.clear())),
        ("no-listener", "no listener", |it| it.wiring = wiring(|it| it.listens = false)),
        ("listener-elsewhere", "another target group", |it| {
            it.wiring = wiring(|it| it.forwards = false);
            it.targets = target("Target.NotInUse", "");
        }),
        ("launch-refused", "not eligible for Free Tier", |it| it.launches = failed("not eligible for Free Tier")),
        ("firewall", "port 8080", |it| {
            it.wiring = wiring(|it| it.admits = Some(false));
            it.targets = target("Target.Timeout", "Request timed out");
        }),
        ("no-instances", "no instance is running", |it| {
            it.group = group(|it| it.min = 0);
            it.instances = Vec::new();
        }),
        ("impaired", "i-1", |it| {
            it.instances = vec![Instance { is_impaired: true, ..unhealthy().instances.remove(0) }]
        }),
        ("user-data", "not YAML", |it| {
            it.console = vec![Line::parse("2026 cloud-init: ERROR: the user data is not YAML")]
        }),
        ("disk-full", "No space left on device", |it| {
            it.reports = fetching("download failed: s3://a/b to /opt/web [Errno 28] No space left on device")
        }),
        ("no-profile", "no role", |it| {
            it.instances = vec![Instance { profile: None, ..unhealthy().instances.remove(0) }]
        }),
        ("fetch-denied", "not allowed to download", |it| {
            it.reports = fetching("fatal error: s3://a/b: AccessDenied: x is not authorized to perform: s3:GetObject")
        }),
        ("secret-missing", "TOKEN from the secret app/jwt, which does not exist", |it| {
            it.unreadable_value = unreadable("(AccessDeniedException)", Some(Presence::Absent))
        }),
        ("secret-missing", "scheduled for deletion", |it| {
            it.unreadable_value = unreadable("(InvalidRequestException)", Some(Presence::Ending))
        }),
        ("secret-missing", "ParameterNotFound", |it| it.unreadable_value = unreadable("(ParameterNotFound)", None)),
        ("secret-denied", "its role may not read TOKEN", |it| {
            it.unreadable_value = unreadable("(AccessDeniedException)", None)
        }),
        ("secret-unreachable", "do not reach the service that keeps TOKEN from the secret app/jwt", |it| {
            let why = "Connect timeout on endpoint URL: \"https://secretsmanager.us-east-1.amazonaws.com/\"";
            it.unreadable_value = unreadable(why, Some(Presence::Present("1".into())));
        }),
        ("secret-unfit", "there is no such text", |it| {
            it.unreadable_value =
                unreadable("jq: error (at <stdin>:1): there is no such text", Some(Presence::Present("1".into())))
        }),
        ("secret-unread", "(ThrottlingException)", |it| {
            it.unreadable_value = unreadable("(ThrottlingException)", None)
        }),
        ("program-missing", "not in the artifact bucket", |it| {
            it.reports = fetching("fatal error: s3://a/b: NoSuchKey: The specified key does not exist.")
        }),
        ("program-missing", "not in the artifact bucket", |it| {
            it.has_program = Some(false);
            it.reports =
                fetching("fatal error: An error occurred (403) when calling the HeadObject operation: Forbidden");
        }),
        ("program-damaged", "not the one that was built", |it| {
            it.reports = fetching("sha256sum: WARNING: 1 computed checksum did NOT match")
        }),
        ("packages", "dnf cannot install its `packages`: Unable to find a match: pyton3", |it| {
            it.reports = fetching("Error: Unable to find a match: pyton3")
        }),
        ("setup", "it cannot be set up: `setup` exits with 127: setup: line 1: pip: command not found", |it| {
            let text = "stage=exit\n2026 host setup[1]: setup: line 1: pip: command not found\n\
                2026 host systemd[1]: web.service: Control process exited, code=exited, status=127/n/a\n";
            it.reports = vec![Report::parse("i-1", "exit", 0, text)];
        }),
        ("architecture", "another architecture", |it| {
            it.reports = exited("", "web.service: Failed at step EXEC spawning /opt/web: Exec format error")
        }),
        ("newer-libraries", "GLIBC_2.39", |it| {
            it.reports = exited(
                "/opt/web: /lib64/libc.so.6: version `GLIBC_2.39' not found (required by /opt/web)",
                "web.service: Main process exited, code=exited, status=1/FAILURE",
            )
        }),
        ("out-of-memory", "more memory than t3.micro", |it| {
            it.reports = exited(
                "memory allocation of 9 bytes failed",
                "web.service: Main process exited, code=killed, status=6/ABRT",
            )
        }),
        ("denied", "dynamodb:PutItem", |it| {
            it.reports = exited("x is not authorized to perform: dynamodb:PutItem", CRASH)
        }),
        ("denied", "DynamoDB answers Query", |it| {
            it.denial = Some("DynamoDB answers Query with 400, AccessDeniedException, to request R1".into());
            it.targets = healthy();
        }),
        ("port-taken", "cannot listen on port 8080", |it| it.reports = exited("Address already in use", CRASH)),
        ("command-missing", "its instances do not have uvicorn, which `run` starts: it exits with 127", |it| {
            it.reports = exited(
                "run: line 1: uvicorn: command not found",
                "web.service: Main process exited, code=exited, status=127/n/a",
            )
        }),
        ("exits", "exits with 78: JWT_AUDIENCE is not set, 3 times so far", |it| {
            it.reports = exited("JWT_AUDIENCE is not set", CRASH)
        }),
        ("setting-up", "its `setup` is still running", |it| {
            it.console = vec![Line::parse("2026 setup[7]: setting up"), Line::parse("2026 setup[7]: a package is old")];
            it.targets = target("Target.FailedHealthChecks", "");
        }),
        ("another-port", "did not listen on port 8080", |it| {
            it.reports = answers("000");
            it.targets = target("Target.FailedHealthChecks", "");
        }),
        ("wrong-path", "/health, with 404", |it| {
            it.reports = answers("404");
            it.targets = target("Target.ResponseCodeMismatch", "Health checks failed with these codes: [404]");
        }),
        ("health-error", "with 500", |it| {
            it.targets = target("Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]")
        }),
        ("health-failed", "fails its health check, /health", |it| {
            it.launches = replaced("i-1", 0).into();
            it.reports = answers("200");
        }),
        ("slow-start", "within 120 s", |it| it.launches = replaced("i-1", 0).into()),
        ("no-answer", "Request timed out", |it| it.targets = target("Target.Timeout", "Request timed out")),
        ("stopped", "i-1 was stopped", |it| {
            it.targets = target("Target.InvalidState", "Target is in the stopped state")
        }),
        ("starting", "starting", |it| {
            it.instances = vec![Instance { state: "pending".into(), profile: Some("p".into()), ..Instance::default() }]
        }),
    ];

    #[test]
    fn each_cause_is_found_from_its_evidence() {
        for (cause, words, change) in CASES {
            let mut evidence = unhealthy();
            change(&mut evidence);
            let verdict = verdict(&evidence).unwrap_or_else(|| panic!("{cause} is not found"));
            assert!(verdict.cause == *cause && verdict.words.contains(words), "{cause}: {verdict:?}");
            assert!(!verdict.remedy.is_empty(), "{cause}");
        }
        let mut named: Vec<&str> = CASES.iter().map(|(cause, ..)| *cause).collect();
        named.dedup();
        assert_eq!(named, CAUSES.iter().map(|cause| cause.name).collect::<Vec<_>>(), "a cause without a test");
        assert_eq!(verdict(&unhealthy()), None);
    }

    #[test]
    fn a_start_is_slow_only_if_the_newest_instance_of_the_release_was_replaced() {
        let cause = |launches: &[&[Launch]], roll_out: Option<RollOut>| {
            let evidence = Evidence { launches: launches.concat(), roll_out, ..unhealthy() };
            verdict(&evidence).map(|verdict| verdict.cause)
        };
        let old = replaced("i-1", 0);
        assert_eq!(cause(&[&[launched("i-2", 240)], &old], None), Some("slow-start"), "i-2 is starting in its place");
        assert_eq!(cause(&[&[launched("i-3", 999)], &[launched("i-2", 240)], &old], None), None, "i-2 was healthy");
        assert_eq!(cause(&[&[launched("i-2", 240)], &old], Some(roll_out(Stage::Over))), None, "of an earlier release");
        let back = RollOut { undone_s: Some(500), ..roll_out(Stage::Back) };
        assert_eq!(cause(&[&replaced("i-2", 200)], Some(back.clone())), None, "of the release that was rolled back");
        assert_eq!(cause(&[&replaced("i-2", 600)], Some(back)), Some("slow-start"));
        assert_eq!(cause(&[&replaced("i-2", 200)], Some(roll_out(Stage::Forward))), Some("slow-start"));
    }

    #[test]
    fn a_service_is_well_only_if_its_new_release_is_and_it_stays_up() {
        let member =
            |id: &str, release: &str| Member { id: id.into(), release: Some(release.into()), ..Member::default() };
        let ill = Target { id: "i-2".into(), ..target("Target.ResponseCodeMismatch", "[500]").remove(0) };
        let of = |stage: Stage, state: &str| Evidence {
            group: group(|it| it.members = vec![member("i-1", "6"), member("i-2", "7")]),
            roll_out: Some(roll_out(stage)),
            targets: vec![healthy().remove(0), Target { state: state.into(), ..ill.clone() }],
            ..unhealthy()
        };
        assert!(of(Stage::Forward, "initial").is_well() && of(Stage::Over, "unhealthy").is_well());
        assert!(!of(Stage::Forward, "unhealthy").is_well());
        let launches = [&[launched("i-3", 500)][..], &replaced("i-2", 200)].concat();
        assert!(!Evidence { launches, ..of(Stage::Forward, "initial") }.is_well(), "one was replaced");
        let crash = "stage=exit\n".to_owned() + &format!("2026 host systemd[1]: {CRASH}\n").repeat(3);
        let reports = vec![Report::parse("i-1", "exit", 0, &crash)];
        let evidence = Evidence { reports, targets: healthy(), ..unhealthy() };
        assert!(evidence.is_up() && !evidence.is_well());
        assert_eq!(verdict(&evidence).map(|verdict| verdict.cause), Some("exits"));
    }

    #[test]
    fn a_download_that_failed_only_at_first_is_no_cause() {
        let text = "stage=exit port=8080\nNRestarts=4\n\
            2026 host aws[1]: fatal error: Unable to locate credentials\n\
            2026 host systemd[1]: web.service: Control process exited, code=exited, status=1/FAILURE\n\
            2026 host service[1]: JWT_AUDIENCE is not set\n\
            2026 host systemd[1]: web.service: Main process exited, code=exited, status=78/CONFIG\n";
        let evidence = Evidence { reports: vec![Report::parse("i-1", "exit", 0, text)], ..unhealthy() };
        assert_eq!(verdict(&evidence).map(|verdict| verdict.cause), Some("exits"));
        let again = text.to_owned() + "2026 host aws[1]: fatal error: Unable to locate credentials\n";
        let evidence = Evidence { reports: vec![Report::parse("i-1", "exit", 0, &again)], ..unhealthy() };
        assert_eq!(verdict(&evidence).map(|verdict| verdict.cause), Some("no-profile"));
    }

    #[test]
    fn a_program_that_has_not_begun_listens_on_no_wrong_port() {
        let verdict_of = |text: &str| {
            let reports = vec![Report::parse("i-1", "answers", 0, text)];
            let evidence = Evidence { reports, targets: target("Target.FailedHealthChecks", ""), ..unhealthy() };
            verdict(&evidence).map(|verdict| verdict.cause)
        };
        let silent = "stage=answers port=8080 http=000\nActiveState=activating\nSubState=start-pre\n";
        let line = |program: &str, text: &str| format!("2026 host {program}[1]: {text}\n");
        assert_eq!(verdict_of(&(silent.to_owned() + &line("setup", "setting up"))), Some("setting-up"));
        assert_ne!(verdict_of(silent), Some("another-port"));
        assert_eq!(verdict_of(&(silent.to_owned() + &line("service", "listening on 3000"))), Some("another-port"));
        let active = silent.replace("activating", "active").replace("start-pre", "running");
        assert_eq!(verdict_of(&(active + &line("setup", "setting up"))), Some("another-port"));
        let failed = line("setup", "setting up")
            + &line("systemd", "web.service: Control process exited, code=exited, status=3/n/a");
        assert_eq!(verdict_of(&(silent.to_owned() + &failed)), Some("setup"));
    }

    #[test]
    fn evidence_is_shown_once() {
        let failed = |text: &str| Launch { failure: Some(text.into()), ..Launch::default() };
        let launches = vec![failed("no room"), failed("no room"), failed("quota")];
        let unread = vec!["could not read the console: denied (GetConsoleOutput)".to_owned()];
        let evidence =
            Evidence { launches, unread, targets: target("Target.Timeout", "Request timed out"), ..unhealthy() };
        let summary = evidence.summary().join("\n");
        assert_eq!(summary.matches("no room").count(), 1, "{summary}");
        assert!(
            summary.contains("quota") && summary.contains("denied") && summary.contains("i-1 is unhealthy"),
            "{summary}"
        );
    }
}
