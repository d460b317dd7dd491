//! Where a unit writes its output.

/// The destination of a unit's output (man systemd.exec, "StandardOutput").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    pub journal: bool,
    pub console: bool,
}

impl Output {
    /// `DefaultStandardOutput=` is the journal, and journald forwards nothing to the console.
    pub const JOURNAL: Output = Output { journal: true, console: false };
    pub(super) const NOWHERE: Output = Output { journal: false, console: false };

    pub(super) fn parse(value: &str) -> Result<Output, String> {
        Ok(match value {
            "journal" | "kmsg" | "syslog" => Output::JOURNAL,
            "journal+console" | "kmsg+console" | "syslog+console" => Output { journal: true, console: true },
            "tty" => Output { journal: false, console: true },
            // Standard input is `/dev/null`.
            "null" | "inherit" => Output::NOWHERE,
            other => return Err(format!("the output '{other}' does not exist on a local instance")),
        })
    }
}
