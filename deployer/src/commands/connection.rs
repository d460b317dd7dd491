//! The connection to AWS, or to the local AWS beside `stack.yaml`.

use std::{path::Path, time::Duration};

use anyhow::anyhow;

#[cfg(feature = "local")]
use super::local;
use crate::{
    cloud::{aws::ConnectOptions, usual::Scale},
    commands::cli::Global,
    output::exit::{Exit, Failure},
};

/// Whether a command starts the local AWS, or accepts that it is not running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Start,
    Only,
}

/// How to connect in this region.
pub(super) fn connect_options(
    global: &Global,
    region: &str,
    local: Option<crate::cloud::aws::Local>,
) -> ConnectOptions {
    ConnectOptions {
        region: region.into(),
        profile: global.profile.clone(),
        local,
        answer_within: Duration::from_secs(global.timeout.into()),
        paced: global.paced,
    }
}

/// The local AWS beside this folder to connect to; `None` when it is not running and need not be.
pub(super) fn local_access(
    global: &Global,
    folder: &Path,
    region: &str,
    wake: Wake,
) -> Result<Option<Option<crate::cloud::aws::Local>>, Failure> {
    if !global.local {
        return Ok(Some(None));
    }
    #[cfg(not(feature = "local"))]
    {
        let _ = (folder, region, wake);
        Err(no_local_aws())
    }
    #[cfg(feature = "local")]
    {
        check_local_region(region)?;
        let laptop = crate::machine::laptop::Laptop::beside(folder);
        let port = local::port(None)?;
        let server = match (laptop.running(), wake) {
            (Some(server), _) => server,
            (None, Wake::Only) if !laptop.has_state() => return Ok(None),
            (None, _) => laptop.start(port, region, &::local::Conditions::default())?,
        };
        Ok(Some(Some(server.access())))
    }
}

/// Rejects regions that the local AWS does not have.
#[cfg(feature = "local")]
fn check_local_region(region: &str) -> Result<(), Failure> {
    match ::local::REGIONS.contains(&region) {
        true => Ok(()),
        false => {
            Err(Failure::usage(format!("the local AWS has no region {region}: it is of the commercial partition"))
                .hint("choose another one for it with --region us-east-1"))
        }
    }
}

#[cfg(not(feature = "local"))]
pub(super) fn no_local_aws() -> Failure {
    Failure::usage("this build has no local AWS").hint(crate::machine::platform::INSTEAD_OF_LOCAL)
}

/// The error for a command that needs a local AWS and does not start one.
pub(super) fn no_local_aws_here() -> Failure {
    Failure::new(Exit::Failed, anyhow!("there is no local AWS here")).hint("run `deployer up --local` first")
}

/// The speed of the cloud of a command.
pub(super) fn scale(global: &Global, folder: &Path) -> Scale {
    #[cfg(feature = "local")]
    if global.local
        && let Some(speed) = crate::machine::laptop::Laptop::beside(folder).speed()
    {
        return Scale::Local(speed);
    }
    let _ = (global, folder);
    Scale::Aws
}
