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
    let mut uses = Uses::new();
    for (entry, variables) in config.variables().filter(|(entry, _)| is_needed(entry)) {
        for (variable, Held { store, name, .. }) in &variables.held {
            let path = format!("{entry}.environment.{variable}");
            uses.entry((*store, name.clone())).or_default().insert(path);
        }
    }
    uses
}

impl Session {
    /// Looks for the values that the needed entries refer to, and remembers their versions.
    ///
    /// Those that are missing are returned, each with its line and its remedy.
    pub(super) async fn find_held(&self, is_needed: impl Fn(&str) -> bool) -> Result<Vec<Failure>, Failure> {
        let (mut versions, mut missing) = (Versions::new(), Vec::new());
        for ((store, name), paths) in uses(&self.config, is_needed) {
            let at = || paths.first().and_then(|path| place(&self.config, &self.file, path));
            let words = format!("look for the {} {name}", store.word());
            let seen = unless_stopped(async {
                let looked = look(|| presence(&self.aws, store, &name)).await;
                looked.map_err(|fault| Failure::to(&words, fault).at(at()))
            });
            let seen = seen.await?;
            if let Some(lack) = seen.lack() {
                let error = anyhow!("the {} {name} {lack}", store.word());
                let hint = format!("set its value: `{}`", store.remedy(&name));
                missing.push(Failure::new(Exit::Failed, error).at(at()).hint(hint));
            } else if let Presence::Present(version) = seen {
                versions.insert((store, name), version);
            }
        }
        *self.versions.lock() = versions;
        Ok(missing)
    }

    /// Checks that the values which a release reads exist: it would not start without them.
    pub(super) async fn require_held(
        &self,
        release: &str,
        held: impl IntoIterator<Item = (Store, String)>,
        section: &str,
    ) -> Result<(), Failure> {
        let held: BTreeSet<(Store, String)> = held.into_iter().collect();
        for (store, name) in held {
            let seen = look(|| presence(&self.aws, store, &name)).await;
            let word = store.word();
            let seen = seen.map_err(|fault| self.failed(&format!("look for the {word} {name}"), fault))?;
            if let Some(lack) = seen.lack() {
                return Err(Failure::new(Exit::Failed, anyhow!("{release} reads the {word} {name}, which {lack}"))
                    .hint(format!("set its value: `{}`", store.remedy(&name)))
                    .at(self.place(section)));
            }
        }
        Ok(())
    }
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
