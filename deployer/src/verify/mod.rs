//! Runs the requests of `verify:` in `stack.yaml` against the running stack.

mod client;
mod expect;
mod hidden;
mod pointer;
mod values;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

pub use client::Client;
pub use values::Values;

use crate::config::{
    Name,
    verify::{Request, Verify},
};

/// The pause before the first repetition; each further one is half as long again.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// A run of the requests.
pub struct VerifyRun<'a> {
    /// The requests.
    pub verify: &'a Verify,
    /// Sends them.
    pub client: Client,
    /// The folder of the files that they send.
    pub folder: PathBuf,
    /// Cancelled when the user wants to stop: only steps that always run are still made.
    pub stop: CancellationToken,
}

/// The result of one step.
#[derive(Debug, Clone)]
pub struct Result {
    /// Its name.
    pub name: String,
    /// The request as it is written.
    pub request: String,
    /// Its result.
    pub end: End,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// How often it was made.
    pub attempts: u32,
    /// How long it took, with all repetitions.
    pub took: Duration,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The answer was as expected.
    Passed,
    /// It failed, for this reason.
    Failed(String),
    /// It was skipped, for this reason.
    Skipped(String),
}

impl Result {
    /// Whether the step keeps the whole run from passing.
    pub fn is_failure(&self) -> bool {
        matches!(self.end, End::Failed(_))
    }
}

/// A moment of a run.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// This step begins.
    Begins(&'a str),
    /// A step has ended.
    Ended(&'a Result),
}

/// The result of one attempt.
struct Attempt {
    status: Option<u16>,
    problem: Option<String>,
}

impl VerifyRun<'_> {
    /// Makes every step, in order. After a failure only those that always run are made.
    pub async fn all(&self, mut values: Values, mut show: impl FnMut(Moment<'_>)) -> Vec<Result> {
        let mut results: Vec<Result> = Vec::new();
        for (index, (name, request)) in self.verify.steps.iter().enumerate() {
            let result = match self.reason_to_skip(request, &results, &values) {
                Some(reason) => Result {
                    name: name.to_string(),
                    request: request.written(),
                    end: End::Skipped(reason),
                    status: None,
                    attempts: 0,
                    took: Duration::ZERO,
                },
                None => {
                    show(Moment::Begins(name.as_str()));
                    self.step(index, &mut values).await
                }
            };
            show(Moment::Ended(&result));
            results.push(result);
        }
        results
    }

    fn reason_to_skip(&self, request: &Request, before: &[Result], values: &Values) -> Option<String> {
        if !request.always {
            if self.stop.is_cancelled() {
                return Some("interrupted".into());
            }
            let failed = before.iter().find(|result| result.is_failure())?;
            return Some(format!("{} failed", failed.name));
        }
        let missing = request.sent().into_iter().flat_map(|text| text.variables()).find(|(name, _)| !values.has(name));
        missing.map(|(name, _)| format!("nothing to clean up: ${{{name}}} was never set"))
    }

    async fn step(&self, index: usize, values: &mut Values) -> Result {
        let (name, request) = &self.verify.steps[index];
        let (begun, limit) = (Instant::now(), Duration::from_secs(request.within_s.into()));
        let (mut attempts, mut rest) = (1, SHORTEST);
        let mut last = self.attempt(request, values).await;
        while last.problem.is_some() && begun.elapsed() + rest < limit && self.rested(rest).await {
            rest = rest.mul_f64(1.5).min(LONGEST);
            attempts += 1;
            last = match self.repeat_before(index, values).await {
                Some(problem) => Attempt { problem: Some(problem), ..last },
                None => self.attempt(request, values).await,
            };
        }
        Result {
            name: name.to_string(),
            request: request.written(),
            end: last.problem.map_or(End::Passed, End::Failed),
            status: last.status,
            attempts,
            took: begun.elapsed(),
        }
    }

    /// Waits before a repetition. Returns whether there should be one.
    async fn rested(&self, rest: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(rest) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Repeats the earlier steps from which a repetition of this one begins. Returns the problem with one of them.
    async fn repeat_before(&self, index: usize, values: &mut Values) -> Option<String> {
        let from: &Name = self.verify.steps[index].1.from.as_ref()?;
        let first = self.verify.steps[..index].iter().position(|(name, _)| name == from)?;
        for (name, request) in &self.verify.steps[first..index] {
            if let Some(problem) = self.attempt(request, values).await.problem {
                return Some(format!("{name}, repeated: {problem}"));
            }
        }
        None
    }

    /// Makes a request once. Captures values even if the answer is not as expected: steps that clean up need them.
    async fn attempt(&self, request: &Request, values: &mut Values) -> Attempt {
        let sent = match client::prepare(request, values, &self.folder) {
            Ok(sent) => sent,
            Err(problem) => return Attempt { status: None, problem: Some(values.hidden(&problem)) },
        };
        values.hide(sent.secrets());
        let answer = match self.client.send(sent, Duration::from_secs(request.timeout_s.into())).await {
            Ok(answer) => answer,
            Err(problem) => return Attempt { status: None, problem: Some(values.hidden(&problem)) },
        };
        let mut problem = None;
        for (name, capture) in &request.capture {
            match expect::captured(capture, &answer, values) {
                Ok(value) => values.set(name.as_str(), value),
                Err(why) => problem = problem.or(Some(format!("${{{name}}} cannot be set: {why}"))),
            }
        }
        let problem = expect::problem(&request.expect, &answer, values).or(problem);
        Attempt { status: Some(answer.status), problem: problem.map(|problem| values.hidden(&problem)) }
    }
}
