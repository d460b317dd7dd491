//! How a process ended, in the words of systemd.

/// The exit of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// Returns systemd's result for a service that failed like this, or `None` if it succeeded.
    pub fn result(self) -> Option<&'static str> {
        match self {
            _ if self.is_clean() => None,
            Exit::Code(_) => Some("exit-code"),
            Exit::Signal(_) => Some("signal"),
        }
    }

    /// Returns `$EXIT_CODE` and `$EXIT_STATUS` for `ExecStopPost=` (man systemd.exec, "Environment variables").
    pub fn code_and_status(self) -> (&'static str, String) {
        match self {
            Exit::Code(code) => ("exited", code.to_string()),
            Exit::Signal(signal) => ("killed", signal_name(signal)),
        }
    }

    /// Like systemd, counts the usual termination signals as success: SIGHUP, SIGINT, SIGPIPE and SIGTERM.
    pub(super) fn is_clean(self) -> bool {
        const ENDING: [i32; 4] = [1, 2, 13, 15];
        match self {
            Exit::Code(code) => code == 0,
            Exit::Signal(signal) => ENDING.contains(&signal),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "code=exited, status={code}/{}", code_name(*code)),
            Exit::Signal(signal) => write!(f, "code=killed, status={signal}/{}", signal_name(*signal)),
        }
    }
}

/// Returns systemd's name of an exit code (man systemd.exec, "Process Exit Codes").
fn code_name(code: i32) -> &'static str {
    const OF_BSD: [&str; 15] = [
        "USAGE",
        "DATAERR",
        "NOINPUT",
        "NOUSER",
        "NOHOST",
        "UNAVAILABLE",
        "SOFTWARE",
        "OSERR",
        "OSFILE",
        "CANTCREAT",
        "IOERR",
        "TEMPFAIL",
        "PROTOCOL",
        "NOPERM",
        "CONFIG",
    ];
    match code {
        0 => "SUCCESS",
        1 => "FAILURE",
        203 => "EXEC",
        _ => usize::try_from(code - 64).ok().and_then(|at| OF_BSD.get(at)).unwrap_or(&"n/a"),
    }
}

/// The names of signals without `SIG`, from signal 1 on (man signal, "Signal numbering for standard signals").
#[rustfmt::skip]
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// The real-time signals, as numbered by glibc.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Returns the name of a signal as systemd writes it (its `signal_to_string`).
fn signal_name(signal: i32) -> String {
    let standard = usize::try_from(signal - 1).ok().and_then(|at| SIGNALS.get(at));
    match standard {
        Some(name) => (*name).to_owned(),
        None if REAL_TIME.contains(&signal) => format!("RTMIN+{}", signal - REAL_TIME.start()),
        None => signal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_worded_as_by_systemd() {
        assert_eq!(Exit::Code(78).to_string(), "code=exited, status=78/CONFIG");
        assert_eq!(Exit::Code(64).to_string(), "code=exited, status=64/USAGE");
        assert_eq!(Exit::Code(3).to_string(), "code=exited, status=3/n/a");
        assert_eq!(Exit::Signal(9).to_string(), "code=killed, status=9/KILL");
        for (signal, name) in [
            (1, "HUP"),
            (2, "INT"),
            (6, "ABRT"),
            (13, "PIPE"),
            (15, "TERM"),
            (17, "CHLD"),
            (31, "SYS"),
            (32, "32"),
            (34, "RTMIN+0"),
            (64, "RTMIN+30"),
        ] {
            assert_eq!(Exit::Signal(signal).code_and_status(), ("killed", name.to_owned()));
        }
    }
}
