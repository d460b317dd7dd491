//! The operations of EC2, Auto Scaling and load balancing.

use kit::query::{Answer, ApiError, Envelope, Params};

use kit::call::{Effect, Needs, Operation, Pagination, Rows};
use kit::parameters::ParameterSpec;

use super::state::State;
use super::{Site, autoscaling, ec2, elb};

/// The function behind an operation. One that reads cannot change the state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Run {
    Reads(fn(&State, &Site, &Params) -> Answer),
    Writes(fn(&mut State, &Site, &Params) -> Answer),
}

pub(super) type ComputeOperation = Operation<Run>;

pub(super) const fn row(
    name: &'static str,
    run: Run,
    needs: Needs,
    page: Option<Pagination>,
    parameters: ParameterSpec,
) -> ComputeOperation {
    let effect = match run {
        Run::Reads(_) => Effect::Reads,
        Run::Writes(_) => Effect::Writes,
    };
    Operation::new(name, effect, needs, page, parameters, run)
}

/// A service with its operations and the envelope of its responses.
pub(super) type Service = (&'static str, &'static [ComputeOperation], Envelope);

pub(super) const SERVICES: &[Service] = &[
    ("ec2", ec2::OPERATIONS, Envelope::Ec2),
    ("autoscaling", autoscaling::OPERATIONS, Envelope::Query(autoscaling::NAME_SPACE)),
    ("elasticloadbalancing", elb::OPERATIONS, Envelope::Query(elb::NAME_SPACE)),
];

/// Turns the answer to a dry run into the error that reports success.
pub(super) fn tried(answer: Answer) -> Answer {
    answer?;
    Err(ApiError::new("DryRunOperation", "Request would have succeeded, but DryRun flag is set."))
}

/// Returns the operations of EC2.
pub fn ec2_rows() -> Rows {
    Operation::rows(ec2::OPERATIONS)
}

/// Returns the operations of Auto Scaling.
pub fn autoscaling_rows() -> Rows {
    Operation::rows(autoscaling::OPERATIONS)
}

/// Returns the operations of Elastic Load Balancing.
pub fn elb_rows() -> Rows {
    Operation::rows(elb::OPERATIONS)
}
