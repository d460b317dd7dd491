//! The failures of a session: their lines in `stack.yaml`, their causes, and the state that they leave.

use parking_lot::MutexGuard;

use super::{Session, Summary, place};
use crate::{
    cloud::{health, why::Verdict},
    engine::{self, Fault, Outcome, Plan},
    kinds::auto_scaling_group,
    output::{
        exit::{Exit, Failure},
        report,
    },
    package::programs::Failed,
};

/// Codes of errors that are about one field of a resource's entry.
const FIELDS: &[(&str, &str)] =
    &[("WAFNonexistentItemException", "load_balancer.waf"), ("WAFInvalidOperationException", "load_balancer.waf")];

impl Session {
    /// Reports the work that was not done, and returns the exit code.
    pub(super) fn conclude(&self, outcomes: Vec<Outcome>) -> Exit {
        let (postponed, outcomes): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::is_postponed);
        postponed.into_iter().filter_map(|outcome| outcome.result?.err()).for_each(report::say);
        if outcomes.iter().all(Outcome::is_done) {
            return Exit::Done;
        }
        let mut exit = Exit::Failed;
        for error in outcomes.into_iter().filter_map(|outcome| outcome.result?.err()) {
            let failure = self.located(error);
            match failure.exit {
                Exit::Interrupted => exit = Exit::Interrupted,
                Exit::Credentials if exit == Exit::Failed => exit = Exit::Credentials,
                _ => (),
            }
            if failure.exit != Exit::Interrupted {
                report::failure(&failure);
            }
        }
        let summary = self.summary();
        let lines = if exit == Exit::Interrupted { summary.brief() } else { summary.lines() };
        lines.iter().for_each(report::say);
        exit
    }

    /// A failure with the state of the stack.
    pub(super) fn ended(&self, failure: Failure) -> Failure {
        let is_brief = matches!(failure.exit, Exit::Interrupted | Exit::Busy);
        failure.with_summary(|| if is_brief { self.summary().brief() } else { self.summary().lines() })
    }

    /// The state of the stack, as far as it is known.
    pub(super) fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock()
    }

    /// Records the state of the stack from a plan.
    pub(super) fn see(&self, plan: &Plan) {
        *self.summary() = Summary::of(plan);
    }

    /// An error with its resource's line of stack.yaml.
    pub(super) fn located(&self, error: engine::Error) -> Failure {
        let what = error.what().clone();
        let code = error.code().unwrap_or_default().to_owned();
        let field = FIELDS.iter().find(|(about, _)| *about == code);
        let field = field.map(|(_, field)| format!("{}.{field}", what.section));
        // The artifact bucket and orphans belong to the stack as a whole.
        let line =
            field.as_deref().into_iter().chain(error.sources()).chain(["name"]).find_map(|path| self.place(path));
        let failure = Failure::from(error);
        let failure = match (self.verdicts.lock().get(&what.section), code.as_str()) {
            (Some(verdict), health::NOT_HEALTHY) => {
                failure.hint(format!("{}, or raise --healthy-within", verdict.remedy))
            }
            (Some(verdict), auto_scaling_group::FAILED) => failure.hint(&verdict.remedy),
            _ => failure,
        };
        failure.at(line.map(|line| format!("{line} ({what})")))
    }

    /// A refused call for the stack as a whole.
    pub(super) fn failed(&self, verb: &str, fault: Fault) -> Failure {
        Failure::to(verb, fault).at(place(&self.config, &self.file, "name"))
    }

    /// The error for a program, with the line that names it.
    pub(super) fn unbuilt(&self, Failed { path, error }: Failed) -> Failure {
        let exit = if error.is_about_the_description() { Exit::Config } else { Exit::Failed };
        let place = path.and_then(|path| place(&self.config, &self.file, &path));
        Failure { hint: error.hint(), ..Failure::new(exit, error) }.at(place)
    }

    /// The error for a network in which the services cannot be.
    pub(super) fn unfit(&self, fault: Fault) -> Failure {
        let path = if self.config.network.is_some() { "network" } else { "services" };
        let place = place(&self.config, &self.file, path);
        Failure::to("look for the network and the domains of the services", fault).at(place)
    }

    /// The place of a value of `stack.yaml`, as `stack.yaml:LINE`; the place of its mapping if the value is left out.
    pub(super) fn place(&self, path: &str) -> Option<String> {
        let written = std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(above, _)| above));
        written
            .filter(|path| path.contains('.') || ["name", "network"].contains(path))
            .find_map(|path| place(&self.config, &self.file, path))
    }

    /// Remembers why a service is not healthy.
    pub(super) fn remember_cause(&self, service: &str, verdict: Verdict) {
        self.verdicts.lock().insert(format!("services.{service}"), verdict);
    }

    /// The sentence that names a cause, with the line of `stack.yaml` that decides it.
    pub(super) fn sentence(&self, section: &str, verdict: &Verdict) -> String {
        let (_, name) = section.split_once('.').unwrap_or(("", section));
        let path = if verdict.field.is_empty() { section.to_owned() } else { format!("{section}.{}", verdict.field) };
        match self.place(&path) {
            Some(place) => format!("{name}: {} ({place})", verdict.words),
            None => format!("{name}: {}", verdict.words),
        }
    }

    /// The sentences of all causes found so far.
    pub(super) fn sentences(&self) -> Vec<String> {
        self.verdicts.lock().iter().map(|(section, verdict)| self.sentence(section, verdict)).collect()
    }
}
