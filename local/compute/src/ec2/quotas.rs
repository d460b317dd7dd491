//! The vCPU quota (docs/aws.md §3.3 and §15).

use crate::Site;
use crate::ec2::types;
use crate::state::State;
use chaos::Kind as ChaosKind;
use kit::query::ApiError;

/// What an account usually has for On-Demand instances of the standard families (`L-1216C47A`), which every type here
/// belongs to.
const USUAL: u32 = 32;
/// What some accounts begin with: not enough for a single `t3.micro`.
const SMALLEST: u32 = 1;

/// Refuses so many more processors where the account may not run them.
pub fn check(state: &State, site: &Site, more: u32) -> Result<(), ApiError> {
    let limit = if site.chaos.borrow().kinds.contains(&ChaosKind::VcpuLimit) { SMALLEST } else { USUAL };
    if more == 0 || running(state).saturating_add(more) <= limit {
        return Ok(());
    }
    let message = format!(
        "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
    );
    Err(ApiError::new("VcpuLimitExceeded", message))
}

/// The processors of all instances that run or are about to.
fn running(state: &State) -> u32 {
    state.instances.values().filter(|one| one.is_alive()).map(|one| processors(&one.kind)).sum()
}

/// The processors of a type, by its name.
pub fn processors(kind: &str) -> u32 {
    types::find(kind).map_or(0, |kind| kind.processors())
}
