//! The permissions that roles have used, for finding out which of them a role needs.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use super::Need;

/// The maximum number of permissions to keep. Further ones are not recorded.
const REMEMBERED: usize = 10_000;

/// The actions that each role needed, and the resources they were needed on, whether they were allowed or not.
#[derive(Debug, Default)]
pub struct Used(Mutex<Roles>);

/// The actions and resources, by the role's name.
type Roles = BTreeMap<String, BTreeSet<(String, String)>>;

impl Used {
    /// Records that a session of a role needed a permission. `session` is the session's ARN.
    pub(super) fn note(&self, session: &str, need: &Need) {
        let Some(role) = session.split('/').nth(1) else { return };
        let mut roles = self.0.lock();
        if roles.values().map(BTreeSet::len).sum::<usize>() < REMEMBERED {
            let used = (need.action.clone(), need.resource.clone());
            roles.entry(role.to_owned()).or_default().insert(used);
        }
    }

    /// Returns all of them.
    pub fn all(&self) -> Roles {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_recorded_once_for_each_role_and_their_number_is_bounded() {
        let used = Used::default();
        let need = |key: usize| Need::new("s3:GetObject", format!("arn:aws:s3:::b/{key}"));
        for key in [1, 1, 2] {
            used.note("arn:aws:sts::0:assumed-role/web/i-1", &need(key));
        }
        used.note("no role", &need(3));
        assert_eq!(used.all()["web"].len(), 2);
        for key in 0..REMEMBERED + 5 {
            used.note("arn:aws:sts::0:assumed-role/other/x", &need(key));
        }
        let all = used.all();
        assert_eq!((all["web"].len(), all.len()), (2, 2));
        assert_eq!(all["other"].len(), REMEMBERED - 2);
    }
}
