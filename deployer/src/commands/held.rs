//! Checks the values that `stack.yaml` refers to and AWS keeps: whether they exist, and of which version they are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::{Session, place, unless_stopped};
use crate::{
    cloud::held::{Presence, presence},
    config::{Config, Held, Store, Versions},
    engine::look,
    output::{
        exit::{Exit, Failure},
        report,
    },
};

/// The places in `stack.yaml` that refer to values, by the values.
pub type Uses = BTreeMap<(Store, String), BTreeSet<String>>;

/// Returns the places that refer to values, such as `services.web.environment.TOKEN`.
pub fn uses(config: &Config, is_needed: impl Fn(&str) -> bool) -> Uses {
    let functions = config.functions.iter().map(|(entry, it)| (format!("functions.{entry}"), &it.variables.held));
    let services = config.services.iter().map(|(entry, it)| (format!("services.{entry}"), &it.variables.held));
    let mut uses = Uses::new();
    for (entry, held) in functions.chain(services).filter(|(entry, _)| is_needed(entry)) {
        for (variable, Held { store, name, .. }) in held {
            let path = format!("{entry}.environment.{variable}");
            uses.entry((*store, name.clone())).or_default().insert(path);
        }
    }
    uses
}

impl Session {
    /// Looks for the values that the needed entries refer to, and remembers their versions.
    ///
    /// Errors: one does not exist. Every one that is missing is reported, each with its line and its remedy.
    pub(super) async fn find_held(&self, is_needed: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let (mut versions, mut missing) = (Versions::new(), Vec::new());
        for ((store, name), paths) in uses(&self.config, is_needed) {
            let at = || paths.first().and_then(|path| place(&self.config, &self.file, path));
            let words = format!("look for the {} {name}", store.word());
            let seen = unless_stopped(async {
                let looked = look(|| presence(&self.aws, store, &name)).await;
                looked.map_err(|fault| Failure::to(&words, fault).at(at()))
            });
            let (what, remedy) = match seen.await? {
                Presence::Present(version) => {
                    versions.insert((store, name), version);
                    continue;
                }
                Presence::Absent => ("does not exist", store.remedy(&name)),
                Presence::Empty => ("has no value", store.remedy(&name)),
                Presence::Ending => ("is scheduled for deletion", store.remedy(&name)),
            };
            let error = anyhow!("the {} {name} {what}", store.word());
            missing.push(Failure::new(Exit::Failed, error).at(at()).hint(format!("set its value: `{remedy}`")));
        }
        *self.versions.lock() = versions;
        match missing.len() {
            0 => Ok(()),
            1 => Err(missing.remove(0)),
            _ => {
                missing.iter().for_each(report::failure);
                Err(Failure::new(Exit::Failed, anyhow!("nothing was changed")))
            }
        }
    }
}
