//! The report of a failed run.

use std::collections::BTreeSet;

use crate::support::RunOutput;

/// Returns the remedies in the deployer's own words: AWS's messages are not remedies.
pub fn remedies(said: &RunOutput, words: &str) -> String {
    let hints = said.stderr.lines().filter_map(|line| line.strip_prefix("hint: "));
    let ours: Vec<&str> = hints.filter(|hint| !words.contains(hint)).collect();
    assert!(!ours.is_empty(), "there is no remedy: {}", said.stderr);
    ours.join("\n")
}

/// Asserts that the state is reported: what exists and what is gone, what failed, and what still waits for it.
pub fn assert_state_is_reported(said: &RunOutput) {
    let list = |what: &str| -> Option<BTreeSet<&str>> {
        let line = said.stderr.lines().find(|line| line.starts_with(what))?;
        Some(line.split_once("): ").map_or(BTreeSet::new(), |(_, names)| names.split(", ").collect()))
    };
    let Some(there) = list("there now") else {
        assert!(said.stderr.contains("nothing was changed"), "what exists now is not reported: {}", said.stderr);
        return assert!(!said.stderr.contains('✓') && !said.stderr.contains('✗'), "{}", said.stderr);
    };
    let [failed, due] = ["failed (", "still to do ("].map(|what| list(what).unwrap_or_default());
    for line in said.stderr.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["✓", what, "deleted", ..] => assert!(!there.contains(what), "{what} is deleted: {}", said.stderr),
            ["✓", what, ..] => assert!(there.contains(what), "{what} is there: {}", said.stderr),
            ["✗", what, ..] => assert!(failed.contains(what), "{what} failed: {}", said.stderr),
            ["-", what, "skipped"] => assert!(due.contains(what), "{what} was skipped: {}", said.stderr),
            _ => (),
        }
    }
}
