//! Checks the values that `stack.yaml` refers to and AWS keeps: whether they exist, and of which version they are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::{Session, place, unless_stopped};
use crate::{
    cloud::stored_values::{Presence, presence},
    config::{Config, Store, StoredValue, Versions},
    engine::look,
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// The places in `stack.yaml` that refer to values, by the values.
pub type ValueReferences = BTreeMap<(Store, String), BTreeSet<String>>;

/// Returns the places that refer to values, such as `services.web.environment.TOKEN`.
pub fn value_references(config: &Config, is_needed: impl Fn(&str) -> bool) -> ValueReferences {
    let mut references = ValueReferences::new();
    for (entry, variables) in config.variables().filter(|(entry, _)| is_needed(entry)) {
        for (variable, StoredValue { store, name, .. }) in &variables.stored {
            let path = format!("{entry}.environment.{variable}");
            references.entry((*store, name.clone())).or_default().insert(path);
        }
    }
    references
}

impl Session {
    /// Looks for the values that the needed entries refer to, and remembers their versions.
    ///
    /// Those that are missing are returned, each with its line and its remedy.
    pub(super) async fn find_stored_values(&self, is_needed: impl Fn(&str) -> bool) -> Result<Vec<Failure>, Failure> {
        let (mut versions, mut missing) = (Versions::new(), Vec::new());
        for ((store, name), paths) in value_references(&self.config, is_needed) {
            let at = paths.first().and_then(|path| place(&self.config, &self.file, path));
            let seen = unless_stopped(self.seen(store, &name, at.clone())).await?;
            if let Some(lack) = seen.lack() {
                missing.push(unset(store, &name, &format!("the {} {name} {lack}", store.word())).at(at));
            } else if let Presence::Present(version) = seen {
                versions.insert((store, name), version);
            }
        }
        *self.versions.lock() = versions;
        Ok(missing)
    }

    /// Checks that the values which a release reads exist: it would not start without them.
    pub(super) async fn require_stored_values(
        &self,
        release: &str,
        stored: impl IntoIterator<Item = (Store, String)>,
        section: &str,
    ) -> Result<(), Failure> {
        let stored: BTreeSet<(Store, String)> = stored.into_iter().collect();
        for (store, name) in stored {
            let seen = self.seen(store, &name, place(&self.config, &self.file, "name")).await?;
            if let Some(lack) = seen.lack() {
                let error = format!("{release} reads the {} {name}, which {lack}", store.word());
                return Err(unset(store, &name, &error).at(self.place(section)));
            }
        }
        Ok(())
    }

    /// Looks for a value that a place in `stack.yaml` needs.
    async fn seen(&self, store: Store, name: &str, at: Option<String>) -> Result<Presence, Failure> {
        let looked = look(|| presence(&self.aws, store, name)).await;
        looked.map_err(|fault| Failure::to(&format!("look for the {} {name}", store.word()), fault).at(at))
    }
}

/// The failure for a value that cannot be read, with the remedy.
fn unset(store: Store, name: &str, error: &str) -> Failure {
    Failure::new(Exit::Failed, anyhow!("{error}")).hint(format!("set its value: `{}`", store.remedy(name)))
}

/// Reports the values that are missing. Errors: there is one.
pub fn refuse(mut missing: Vec<Failure>) -> Result<(), Failure> {
    match missing.len() {
        0 => Ok(()),
        1 => Err(missing.remove(0)),
        _ => {
            missing.iter().for_each(report::failure);
            Err(Failure::new(Exit::Failed, anyhow!("nothing was changed")))
        }
    }
}
