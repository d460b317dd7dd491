//! Sign-in: which credentials are used, where they come from, what is wrong with them, and what to type.
//!
//! The SDK tries one source after another and reports in the end that none worked. Here the source is determined first,
//! by the same rules, so that an error can name it and its remedy.

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
pub use source::{Source, selected};

/// Why sign-in failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    /// What is wrong, and where.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// What it is about.
    pub about: About,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Who is asking.
    Credentials,
    /// A setting of the AWS configuration that has nothing to do with who is asking.
    Settings,
}

impl Trouble {
    /// Trouble with credentials.
    pub fn credentials(what: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble { what: one_line(&what.into()), remedy: remedy.into(), about: About::Credentials }
    }

    /// Trouble with a setting.
    pub fn setting(what: impl Into<String>, remedy: impl Into<String>) -> Trouble {
        Trouble { what: one_line(&what.into()), remedy: remedy.into(), about: About::Settings }
    }

    /// The trouble that an error was caused by, if it was.
    pub fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Trouble> {
        chain(error).find_map(|cause| cause.downcast_ref())
    }

    /// The same as the fault of a call that was made meanwhile.
    pub fn fault(&self, operation: &str) -> Fault {
        Fault::new(operation, NOT_SIGNED_IN, format!("{}: {}", self.what, self.remedy))
    }
}

/// The code of a fault that [`Trouble`] has caused.
pub const NOT_SIGNED_IN: &str = "NotSignedIn";

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        let exit = match trouble.about {
            About::Credentials => Exit::Credentials,
            About::Settings => Exit::Config,
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

/// What programs and servers say may have many lines, and no end.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 400;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
