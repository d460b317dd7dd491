//! When a unit is started again.

use super::exit::Exit;

/// When a service is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    No,
    Always,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnAbort,
}

impl Restart {
    /// Returns whether a service that exited like this is restarted.
    pub fn after(self, exit: Exit) -> bool {
        let by_signal = matches!(exit, Exit::Signal(_));
        match self {
            Restart::No => false,
            Restart::Always => true,
            Restart::OnSuccess => exit.is_clean(),
            Restart::OnFailure => !exit.is_clean(),
            Restart::OnAbnormal | Restart::OnAbort => by_signal && !exit.is_clean(),
        }
    }
}

pub(super) fn restart(value: &str) -> Result<Restart, String> {
    Ok(match value {
        "no" => Restart::No,
        "always" => Restart::Always,
        "on-success" => Restart::OnSuccess,
        "on-failure" => Restart::OnFailure,
        "on-abnormal" => Restart::OnAbnormal,
        "on-abort" => Restart::OnAbort,
        other => return Err(format!("'{other}' is not a value of Restart=")),
    })
}
