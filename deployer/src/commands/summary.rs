//! The summary of a stack when a command stops early: resources that exist, failures, and remaining work.

use crate::engine::{Address, Error, Outcome, Plan, Planned, Step};

/// The known state of a stack, from the last plan and the work done since.
#[derive(Debug, Default)]
pub struct Summary(Option<Vec<Line>>);

/// One resource of it.
#[derive(Debug)]
struct Line {
    address: Address,
    is_there: bool,
    /// Whether the plan removes it.
    is_removed: bool,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// There is nothing to do.
    Stays,
    Due,
    Done,
    Failed,
}

/// The most resources named in each line: more would hide the errors above.
const NAMED: usize = 40;
/// The most resources named in a single-line summary.
const NAMED_IN_BRIEF: usize = 3;

impl Summary {
    /// The state before a plan is applied.
    pub fn of(plan: &Plan) -> Summary {
        Summary(Some(plan.lines.iter().map(Line::of).collect()))
    }

    /// Updates the state with the outcome of a plan.
    pub fn note(&mut self, outcomes: &[Outcome]) {
        let lines = self.0.get_or_insert_default();
        for Outcome { address, result } in outcomes {
            let known = lines.iter().position(|line| line.address == *address);
            let at = known.unwrap_or_else(|| {
                lines.push(Line { address: address.clone(), is_there: false, is_removed: false, fate: Fate::Due });
                lines.len() - 1
            });
            lines[at].record(result.as_ref());
        }
    }

    /// At most two lines: after an interruption, or when another run holds the lease, a long inventory would hide the
    /// message.
    pub fn brief(&self) -> Vec<String> {
        let due: Vec<&Address> =
            self.0.iter().flatten().filter(|line| line.fate == Fate::Due).map(|line| &line.address).collect();
        let done = self.0.iter().flatten().filter(|line| line.fate == Fate::Done).count();
        let (last, named) = (self.lines().pop(), named("still to do", "", &due, NAMED_IN_BRIEF));
        match done {
            0 => vec!["nothing was changed; the same command continues".into()],
            _ => named.into_iter().chain(last).collect(),
        }
    }

    /// A few lines for people; the last states that the same command continues.
    pub fn lines(&self) -> Vec<String> {
        let Some(lines) = &self.0 else { return vec!["nothing was changed; the same command continues".into()] };
        let those = |is: &dyn Fn(&Line) -> bool| -> Vec<&Address> {
            lines.iter().filter(|line| is(line)).map(|line| &line.address).collect()
        };
        let done = those(&|line| line.fate == Fate::Done).len();
        let all = those(&|line| line.fate != Fate::Stays).len();
        let lines = [
            named("there now", "nothing of this stack", &those(&|line| line.is_there), NAMED),
            named("failed", "", &those(&|line| line.fate == Fate::Failed), NAMED),
            named("still to do", "", &those(&|line| line.fate == Fate::Due), NAMED),
            Some(format!("{done} of {all} done; the same command continues")),
        ];
        lines.into_iter().flatten().collect()
    }
}

impl Line {
    fn of(planned: &Planned) -> Line {
        let fate = match &planned.step {
            Step::Keep | Step::Leave(_) | Step::Foreign { .. } | Step::Protected => Fate::Stays,
            Step::Create
            | Step::Update(_)
            | Step::Pending(_)
            | Step::Replace(_)
            | Step::Delete { .. }
            | Step::Wait(_) => Fate::Due,
        };
        // Without a known name, it is unknown whether the resource exists: its name is an output of another resource.
        let is_ours = !matches!(planned.step, Step::Create | Step::Foreign { .. });
        let is_there = is_ours && !planned.name.is_empty();
        let is_removed = matches!(planned.step, Step::Delete { .. });
        Line { address: planned.address.clone(), is_there, is_removed, fate }
    }

    fn record(&mut self, result: Option<&Result<(), Error>>) {
        match result {
            Some(Ok(())) => (self.fate, self.is_there) = (Fate::Done, !self.is_removed),
            Some(Err(Error::Interrupted { .. } | Error::Postponed { .. })) | None => self.fate = Fate::Due,
            Some(Err(_)) => self.fate = Fate::Failed,
        }
    }
}

/// `there now (2): bucket.artifacts, table.posts`; omitted if there are none, unless `none` has a text for it.
fn named(what: &str, none: &str, those: &[&Address], most: usize) -> Option<String> {
    if those.is_empty() {
        return (!none.is_empty()).then(|| format!("{what}: {none}"));
    }
    let mut names: Vec<String> = those.iter().take(most).map(|address| address.to_string()).collect();
    let more = those.len() - names.len();
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    Some(format!("{what} ({}): {}", those.len(), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Fault;

    fn address(key: &str) -> Address {
        Address { kind: "table", key: key.into(), section: format!("tables.{key}") }
    }

    fn line(key: &str, is_there: bool, is_removed: bool, fate: Fate) -> Line {
        Line { address: address(key), is_there, is_removed, fate }
    }

    fn outcome(key: &str, result: Option<Result<(), Error>>) -> Outcome {
        Outcome { address: address(key), result }
    }

    fn refused(key: &str) -> Option<Result<(), Error>> {
        let source = Fault::new("CreateTable", "LimitExceeded", "too many");
        Some(Err(Error::Fault { verb: "create", what: address(key), name: key.into(), source }))
    }

    #[test]
    fn before_the_first_look_nothing_was_changed() {
        assert_eq!(Summary::default().lines(), ["nothing was changed; the same command continues"]);
    }

    #[test]
    fn existing_failed_and_remaining_resources_are_named() {
        let before = ["old", "new", "bad", "waits", "doomed", "stopped"];
        let fates = [Fate::Stays, Fate::Due, Fate::Due, Fate::Due, Fate::Due, Fate::Due];
        let lines = before
            .iter()
            .zip(fates)
            .map(|(key, fate)| line(key, ["old", "doomed"].contains(key), *key == "doomed", fate));
        let mut summary = Summary(Some(lines.collect()));
        let stopped = Some(Err(Error::Interrupted { what: address("stopped") }));
        summary.note(&[
            outcome("new", Some(Ok(()))),
            outcome("bad", refused("bad")),
            outcome("waits", None),
            outcome("doomed", Some(Ok(()))),
            outcome("stopped", stopped),
        ]);
        assert_eq!(
            summary.lines(),
            [
                "there now (2): table.old, table.new",
                "failed (1): table.bad",
                "still to do (2): table.waits, table.stopped",
                "2 of 5 done; the same command continues",
            ]
        );
    }

    #[test]
    fn a_stopped_run_is_summarized_in_two_lines() {
        let fates = [Fate::Done, Fate::Due, Fate::Due, Fate::Due, Fate::Due, Fate::Stays];
        let lines = fates.iter().enumerate().map(|(n, fate)| line(&n.to_string(), true, false, *fate)).collect();
        let summary = Summary(Some(lines));
        assert_eq!(
            summary.brief(),
            ["still to do (4): table.1, table.2, table.3, and 1 more", "1 of 5 done; the same command continues"]
        );
        let untouched = Summary(Some(vec![line("old", true, false, Fate::Due)]));
        assert_eq!(untouched.brief(), ["nothing was changed; the same command continues"]);
        assert_eq!(Summary::default().brief(), Summary::default().lines());
    }

    #[test]
    fn of_many_resources_the_first_are_named() {
        let mut summary = Summary(Some((0..100).map(|n| line(&n.to_string(), false, false, Fate::Due)).collect()));
        assert_eq!(summary.lines()[0], "there now: nothing of this stack");
        summary.note(&(0..100).map(|n| outcome(&n.to_string(), Some(Ok(())))).collect::<Vec<_>>());
        assert!(summary.lines()[0].ends_with("table.39, and 60 more"), "{:?}", summary.lines());
    }
}
