//! Sign-in: the credentials in use, their source, the errors in them, and the remedies.
//!
//! The SDK tries one source after another and finally reports that none worked. Here the source is determined first, by
//! the same rules, so that an error can name it with its remedy.

use crate::{
    engine::Fault,
    output::exit::{Exit, Failure},
};

mod environment;
mod first_call;
mod profiles;
mod provider;
mod source;

pub use environment::{Environment, check_address};
pub use first_call::identify;
pub use profiles::Profiles;
pub use provider::Provider;
pub use source::{CredentialSource, selected};

/// Returns the region that the AWS configuration names, as the AWS CLI reads it: a variable, or the profile.
///
/// Errors: the configuration is invalid.
pub async fn configured_region(profile: Option<&str>) -> Result<Option<String>, Trouble> {
    let environment = Environment::of_this_process()?;
    if let Some(region) = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| environment.get(name)) {
        return Ok(Some(region.trim().to_owned()));
    }
    let (name, _) = selected(&environment, profile);
    let profiles = Profiles::read(&environment, name).await?;
    Ok(profiles.get(name).and_then(|profile| profile.get("region")).map(str::to_owned))
}

/// Why sign-in failed, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    /// The problem, and its place.
    pub what: String,
    /// The remedy.
    pub remedy: String,
    /// Where it is.
    pub area: Area,
}

/// Where a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Credentials.
    Credentials,
    /// A setting of the AWS configuration that does not concern credentials.
    Settings,
}

impl Trouble {
    /// A problem with credentials.
    pub fn credentials(what: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble { what: one_line(&what.into()), remedy: remedy.into(), area: Area::Credentials }
    }

    /// A problem with a setting.
    pub fn setting(what: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble { what: one_line(&what.into()), remedy: remedy.into(), area: Area::Settings }
    }

    /// The problem that caused an error, if one did.
    pub fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Trouble> {
        chain(error).find_map(|cause| cause.downcast_ref())
    }

    /// The same problem as the fault of a call.
    pub fn fault(&self, operation: &str) -> Fault {
        Fault::new(operation, NOT_SIGNED_IN, format!("{}: {}", self.what, self.remedy))
    }
}

/// The code of a fault that was caused by a [`Trouble`].
pub const NOT_SIGNED_IN: &str = "NotSignedIn";

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        let exit = match trouble.area {
            Area::Credentials => Exit::Credentials,
            Area::Settings => Exit::Config,
        };
        let remedy = trouble.remedy.clone();
        Failure::new(exit, trouble).hint(remedy)
    }
}

/// An error and its causes, the outermost first.
fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Shortened to one line: output of programs and servers may have many lines, without a limit.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 400;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
