//! Facts about a service that several causes need.

use crate::cloud::why::{
    evidence::{Evidence, Launch, Stage},
    report::{End, Line, ends},
};
use crate::page::user_data::SETUP;

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
    pub(super) fn last_replaced(&self) -> Option<&Launch> {
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
    pub(super) fn lines(&self) -> &[Line] {
        self.report().map_or(self.console.as_slice(), |report| report.lines.as_slice())
    }

    /// The last exit of the service.
    pub(super) fn last_end(&self) -> Option<End> {
        ends(self.lines()).pop()
    }

    /// The last line that contains one of these words.
    pub(super) fn line(&self, words: &[&str]) -> Option<&Line> {
        let has = |line: &&Line| words.iter().any(|word| line.text.contains(word));
        self.lines().iter().rev().find(has).or_else(|| self.console.iter().rev().find(has))
    }

    /// The last line of the download that contains one of these words, unless the program has run since: a download may
    /// fail at first, while the role is not in force everywhere yet.
    pub(super) fn failed_download(&self, words: &[&str]) -> Option<&Line> {
        let has = |line: &&Line| words.iter().any(|word| line.text.contains(word));
        let last = |lines| -> Option<&Line> {
            let lines: &[Line] = lines;
            lines.iter().rev().take_while(|line| !has_run(line)).find(has)
        };
        last(self.lines()).or_else(|| last(&self.console))
    }

    pub(super) fn target(&self, reason: &[&str]) -> Option<&crate::cloud::health::Target> {
        self.targets.iter().find(|target| reason.contains(&target.reason.as_str()))
    }

    /// The status that the service answered its own instance: `None` without a report, 0 without an answer.
    pub(super) fn answered(&self) -> Option<u16> {
        let report = self.reports.iter().find(|report| report.stage == "answers")?;
        report.facts.get("http")?.parse().ok()
    }

    /// Whether the program had begun when the instance reported.
    pub(super) fn has_begun(&self) -> bool {
        self.reports.iter().any(|report| {
            report.facts.get("ActiveState").is_some_and(|state| state == "active") || report.lines.iter().any(has_run)
        })
    }

    pub(super) fn statuses(&self) -> Option<String> {
        let target = self.target(&["Target.ResponseCodeMismatch"])?;
        let (_, codes) = target.description.split_once('[')?;
        Some(codes.split(']').next().unwrap_or_default().to_owned())
    }
}

/// The programs that write to the journal of a service before its program runs; empty if unknown.
const TOOLS: &[&str] = &["", "systemd", "aws", "bash", "sha256sum", "chmod", "cloud-init", SETUP];

/// Whether the program has run when this line was written.
pub(in crate::cloud::why) fn has_run(line: &Line) -> bool {
    !TOOLS.contains(&line.program.as_str()) || line.text.contains("Main process exited")
}
