//! The account and the region of a stack.

use std::path::{Path, PathBuf};

use super::{Session, folder};
use crate::{
    cloud::site::Site,
    config::Config,
    engine::Plan,
    machine::pin::{Elsewhere, Home, Pin},
    output::{
        exit::{Exit, Failure},
        report,
    },
    package::programs::Destination,
};

impl Session {
    /// Reports the stacks of this folder that a plan does not touch, when `stack.yaml` names a new stack.
    pub(super) fn report_left_behind(&self, plan: &Plan) {
        if !plan.is_first() {
            return;
        }
        let local = self.local_option();
        for Home { stack, account, region } in self.pin.others(self.config.name.as_str()) {
            let name = &self.config.name;
            report::say(format!(
                "this is a new stack: {stack}, which this folder deployed to account {account}, region {region}, is not changed"
            ));
            report::hint(&format!(
                "to continue with it, set `name: {stack}` in stack.yaml; to remove it, do so and run `deployer \
                 down{local} --region {region}`, then set `name: {name}` again"
            ));
        }
    }

    /// Records where this stack is deployed. Failing to do so only disables a check.
    pub(super) fn remember_home(&mut self) {
        let home = self.home();
        if let Err(error) = self.pin.remember(&home) {
            report::say(format!("cannot record where this stack is deployed: {error:#}"));
        }
    }

    /// Removes that record, because the stack is gone.
    pub(super) fn forget_home(&mut self) {
        let home = self.home();
        if let Err(error) = self.pin.forget(&home) {
            report::say(format!("cannot remove the record of where this stack was deployed: {error:#}"));
        }
    }

    /// The account and region of this stack.
    fn home(&self) -> Home {
        home(&self.config, &self.site)
    }
}

fn home(config: &Config, site: &Site) -> Home {
    Home { stack: config.name.to_string(), account: site.account.clone(), region: site.region.clone() }
}

/// The local AWS's record is kept beside its state, and deleted with it.
pub(super) fn pin_file(file: &Path, destination: Destination) -> PathBuf {
    let folder = folder(file).join(".deployer");
    match destination {
        Destination::Aws => folder.join("pin"),
        Destination::Laptop => folder.join("local").join("pin"),
    }
}

/// Rejects accounts other than the one that `stack.yaml` names, and places other than the one where the stack is known
/// to be.
pub(super) fn check_place(config: &Config, site: &Site, file: &Path, region_is_meant: bool) -> Result<Pin, Failure> {
    check_account(config, site)?;
    let pin = Pin::read(file.to_owned()).map_err(|error| {
        Failure::new(Exit::Failed, error)
            .hint("remove the file if the account and region of these credentials are right")
    })?;
    let (name, file, here) = (&config.name, pin.file().display(), home(config, site));
    let refusal = match pin.contradicts(&here, region_is_meant) {
        None => None,
        Some(Elsewhere::Account(_)) if config.account.is_some() => None,
        Some(Elsewhere::Account(there)) => Some(
            Failure::usage(format!(
                "{name} is deployed in account {there} ({file}), but these credentials belong to account {}",
                here.account
            ))
            .hint(format!("use the other account's profile, or set `account: \"{}\"` in stack.yaml", here.account)),
        ),
        Some(Elsewhere::Regions(there)) => Some(
            Failure::usage(format!(
                "{name} is deployed in {} ({file}), but stack.yaml says {}",
                there.join(", "),
                here.region
            ))
            .hint(format!(
                "stacks cannot move to another region: deploy a second stack there with `--region {}`, take over by \
                     hand what you need, then remove the first with `down --region {}`",
                here.region, there[0]
            )),
        ),
    };
    refusal.map_or(Ok(pin), Err)
}

fn check_account(config: &Config, site: &Site) -> Result<(), Failure> {
    match &config.account {
        Some(account) if *account != site.account => Err(Failure::usage(format!(
            "stack.yaml names account {account}, but these credentials are of account {}",
            site.account
        ))
        .hint("use the other account's profile, or change `account` in stack.yaml")),
        _ => Ok(()),
    }
}
