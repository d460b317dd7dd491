//! The vCPU quota (docs/aws.md §3.3 and §15).

use crate::Site;
use crate::ec2::types;
use crate::state::State;
use chaos::ChaosKind;
use kit::query::ApiError;

/// The default quota for On-Demand instances of the standard families (`L-1216C47A`), to which every type here belongs.
const USUAL: u32 = 32;
/// The initial quota of some accounts: not enough for a single `t3.micro`.
const SMALLEST: u32 = 1;

/// Returns the account's quota.
pub fn quota(site: &Site) -> u32 {
    if site.chaos.borrow().kinds.contains(&ChaosKind::VcpuLimit) { SMALLEST } else { USUAL }
}

/// Refuses `more` additional vCPUs if they would exceed the quota.
pub fn check(state: &State, site: &Site, more: u32) -> Result<(), ApiError> {
    let limit = quota(site);
    if more == 0 || running(state).saturating_add(more) <= limit {
        return Ok(());
    }
    let message = format!(
        "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
    );
    Err(ApiError::new("VcpuLimitExceeded", message))
}

/// Returns the vCPUs of all pending and running instances.
fn running(state: &State) -> u32 {
    state.instances.values().filter(|one| one.is_alive()).map(|one| processors(&one.kind)).sum()
}

/// Returns the vCPUs of an instance type.
pub fn processors(kind: &str) -> u32 {
    types::find(kind).map_or(0, |kind| kind.processors())
}
