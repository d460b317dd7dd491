//! Plans as they are printed.

use std::collections::BTreeSet;

use super::RunOutput;

/// The lines that a plan shows below each resource; for one that is to be created, a plus.
pub fn lines(plan: &RunOutput) -> BTreeSet<(String, String)> {
    let mut lines = BTreeSet::new();
    let mut address = String::new();
    for line in plan.stderr.lines() {
        if let Some(field) = line.strip_prefix("      ") {
            let field = field.split(" (stack.yaml:").next().unwrap_or(field);
            lines.insert((address.clone(), field.to_owned()));
        } else if let Some((mark, rest)) = line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            address = rest.split_whitespace().next().unwrap_or_default().to_owned();
            if mark == "+" {
                lines.insert((address.clone(), "+".into()));
            }
        }
    }
    lines
}

/// Whether a text is like a pattern, in which `*` matches anything.
pub fn is_like(text: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut last = "";
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        (rest, last) = (&rest[at + piece.len()..], piece);
    }
    rest.is_empty() || pattern.ends_with('*') || (pattern.contains('*') && text.ends_with(last))
}
