//! The duration and the calls of a run.

use super::Session;
use crate::{
    cloud::aws::Aws,
    commands::cli::Global,
    engine::{AT_ONCE, Schedule, Span, Task},
    output::report,
};

impl Session {
    /// Records the tasks of the run: those of the plan that is about to be carried out.
    pub(super) fn follow(&self, tasks: Vec<Task>) -> Schedule {
        let mut schedule = self.schedule.lock();
        let next = match &*schedule {
            Some(before) => before.replanned(tasks),
            None => Schedule::new(tasks),
        };
        schedule.insert(next).clone()
    }

    /// Adds the times of a walk.
    pub(super) fn note(&self, span: Span) {
        *self.walked.lock() += span;
    }

    /// With `-v`: when each resource was worked on.
    pub(super) fn waterfall(&self, global: &Global) {
        if let Some(schedule) = self.schedule.lock().as_ref().filter(|_| global.verbose > 0) {
            report::waterfall(&schedule.timed());
        }
    }

    /// With `-v`: how long it took, and three lower bounds.
    pub(super) fn timing(&self, global: &Global) {
        if global.verbose == 0 {
            return;
        }
        let (took, walked) = (report::worked_since(self.begun), *self.walked.lock());
        let besides = took.saturating_sub(walked.took);
        let rates = self.aws.rates.least();
        let [took, chain, share, rates] =
            [took, besides + walked.chain, besides + walked.share, rates].map(|time| time.as_secs_f64());
        report::say(format!(
            "{took:.2} s; the longest chain {chain:.2} s, all by {AT_ONCE} at once {share:.2} s, AWS's rates {rates:.2} s"
        ));
    }

    /// With `-v`: the number of calls, by operation.
    pub(super) fn tally(&self, global: &Global) {
        tally(&self.aws, global);
    }
}

/// With `-v`: the number of calls, by operation.
pub(super) fn tally(aws: &Aws, global: &Global) {
    if global.verbose == 0 {
        return;
    }
    let tally = aws.journal.tally();
    report::say(format!("{} calls, {} of them mutating", tally.calls, tally.mutating));
    for (operation, count) in aws.journal.by_operation() {
        report::say(format!("  {count:4} {operation}"));
    }
}
