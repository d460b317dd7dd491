//! The programs of a service's releases in the artifact bucket.

use std::collections::BTreeSet;

use super::Releases;
use crate::{
    cloud::aws::{Aws, found, gone, items},
    engine::Fault,
};

/// The location of a service's programs.
#[derive(Debug, Clone)]
pub struct ServicePrograms {
    /// The artifact bucket.
    pub bucket: String,
    /// The prefix of the keys, with a trailing slash.
    pub prefix: String,
}

impl ServicePrograms {
    /// The keys of all programs. Without a bucket there are none.
    pub async fn keys(&self, aws: &Aws) -> Result<BTreeSet<String>, Fault> {
        let call = aws.s3.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
        let listed = found(items(call.into_paginator().send()).await)?.unwrap_or_default();
        Ok(listed.into_iter().filter_map(|object| object.key).collect())
    }

    /// The programs that no release needs any more.
    pub fn obsolete(&self, keys: BTreeSet<String>, releases: &Releases) -> BTreeSet<String> {
        let programs = releases.kept().filter_map(|release| release.program());
        let needed: BTreeSet<&str> = programs.map(|program| program.key).collect();
        // An object that no release uses was not uploaded for one, or its first release is about to be created.
        let known: BTreeSet<&str> = releases.all.iter().filter_map(|it| it.program()).map(|it| it.key).collect();
        keys.into_iter().filter(|key| known.contains(&**key) && !needed.contains(&**key)).collect()
    }

    /// Removes a program.
    pub async fn remove(&self, aws: &Aws, key: &str) -> Result<(), Fault> {
        gone(aws.s3.delete_object().bucket(&self.bucket).key(key).send().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Owner, Tags},
        releases::{KEPT, tests::release},
    };

    #[test]
    fn a_program_is_obsolete_once_no_kept_release_has_it() {
        let stored = ServicePrograms { bucket: "app-artifacts".into(), prefix: "services/web/".into() };
        let sha256 = |number: i64| format!("{number:064}");
        let key = |number: i64| format!("services/web/{}", sha256(number));
        // The newest release has the program of the first one again.
        let programs = [(8, 1), (7, 7), (6, 6), (5, 5), (4, 4), (3, 3), (2, 2), (1, 1)];
        let all = programs.map(|(number, program)| release(number, &sha256(program), &[]));
        let releases = Releases {
            template: "lt-1".into(),
            owner: Owner::Tags(Tags::new()),
            all: all.into(),
            in_service: Some(8),
            roll_out: None,
            running: BTreeSet::new(),
        };
        assert_eq!(KEPT, 5, "the programs 1, 7, 6, 5 and 4 are kept");
        let stranger = "services/web/by-hand".to_owned();
        let keys = (1..=7).map(key).chain([stranger]).collect();
        assert_eq!(stored.obsolete(keys, &releases), [key(2), key(3)].into());
    }
}
