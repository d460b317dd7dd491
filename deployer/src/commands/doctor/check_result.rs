//! The result of a check, with the remedy.

use crate::output::exit::Failure;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    mark: Mark,
    text: String,
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Passed.
    Good,
    /// `up` would fail.
    Bad,
    /// Not checked, or perhaps a problem.
    Unclear,
}

impl CheckResult {
    /// Returns a passed check.
    pub fn good(subject: &str, text: impl std::fmt::Display) -> CheckResult {
        CheckResult { mark: Mark::Good, text: format!("{subject}: {text}"), remedy: None }
    }

    /// `up` would fail.
    pub fn bad(subject: &str, text: impl std::fmt::Display) -> CheckResult {
        CheckResult { mark: Mark::Bad, ..CheckResult::good(subject, text) }
    }

    /// Returns a check that was not made, or found a possible problem.
    pub fn unclear(subject: &str, text: impl std::fmt::Display) -> CheckResult {
        CheckResult { mark: Mark::Unclear, ..CheckResult::good(subject, text) }
    }

    /// The failure that `up` would end with.
    pub fn of(subject: &str, failure: &Failure) -> CheckResult {
        let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
        CheckResult { remedy: failure.hint.clone(), ..CheckResult::bad(subject, causes.join(": ")) }
    }

    /// Adds the remedy.
    pub fn remedy(self, remedy: impl Into<String>) -> CheckResult {
        CheckResult { remedy: Some(remedy.into()), ..self }
    }

    /// Whether `up` would fail.
    pub fn is_bad(&self) -> bool {
        self.mark == Mark::Bad
    }

    /// Its lines: the result, and the remedy below it.
    pub fn lines(&self) -> Vec<String> {
        let mark = match self.mark {
            Mark::Good => '✓',
            Mark::Bad => '✗',
            Mark::Unclear => '!',
        };
        let remedy = self.remedy.iter().map(|remedy| format!("hint: {remedy}"));
        let text = std::iter::once(self.text.clone()).chain(remedy).collect::<Vec<_>>().join("\n");
        let lines = text.lines().enumerate();
        lines.map(|(at, line)| if at == 0 { format!("{mark} {line}") } else { format!("  {line}") }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_of_several_lines_is_indented_below_its_check() {
        let result = CheckResult::bad("tools", "zig is missing").remedy("install it:\n  pip install ziglang");
        assert!(result.is_bad());
        assert_eq!(result.lines(), ["✗ tools: zig is missing", "  hint: install it:", "    pip install ziglang"]);
        assert_eq!(CheckResult::good("region", "us-east-1").lines(), ["✓ region: us-east-1"]);
        assert_eq!(CheckResult::unclear("quotas", "unchecked").lines(), ["! quotas: unchecked"]);
    }
}
