//! The instances that a Learner Lab of AWS Academy allows (docs/aws.md §3.4).

use crate::Site;
use crate::state::{Instance, State};
use kit::account::AccountKind;

/// The most instances that run at once in a region.
const MOST: usize = 9;
/// The sizes of instance types.
const SIZES: &[&str] = &["nano", "micro", "small", "medium", "large"];

/// Terminates the instances that a lab does not allow: the larger ones, and the latest beyond the limit.
pub fn enforce(state: &mut State, site: &Site) {
    if site.kind != AccountKind::Academy {
        return;
    }
    let mut alive: Vec<&Instance> = state.instances.values().filter(|one| one.is_alive()).collect();
    alive.sort_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id)));
    let (small, large): (Vec<&Instance>, Vec<&Instance>) = alive.into_iter().partition(|one| is_small(&one.kind));
    let excess: Vec<String> = small.iter().skip(MOST).chain(&large).map(|one| one.id.clone()).collect();
    excess.iter().for_each(|id| super::terminate(state, id));
}

/// Whether an instance type has one of the allowed sizes.
fn is_small(kind: &str) -> bool {
    kind.split_once('.').is_some_and(|(_, size)| SIZES.contains(&size))
}

#[cfg(test)]
mod tests {
    use super::is_small;

    #[test]
    fn sizes_up_to_large_are_allowed() {
        assert!(["t3.nano", "m5.large"].into_iter().all(is_small));
        assert!(!["t3.xlarge", "m5.2xlarge", "m5.metal"].into_iter().any(is_small));
    }
}
