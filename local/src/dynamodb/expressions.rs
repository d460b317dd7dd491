//! The limits of expressions and documents, checked before anything parses them: what is nested without end would
//! use up the stack, and a call that is logged is made again at every start.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>

use serde_json::Value;

use super::invalid;
use crate::answer::Refusal;

/// The longest expression in bytes.
const LONGEST: usize = 4096;
/// The longest PartiQL statement in bytes.
const LONGEST_STATEMENT: usize = 8192;
/// The most operators and functions in one expression; parentheses count here as well.
const MOST_OPERATORS: usize = 300;
/// How deep lists and maps may be nested in an attribute.
const DEEPEST: usize = 32;

/// Refuses expressions that are too long or too deep, and documents that are too deep, wherever they are in the input.
pub(super) fn check(input: &Value) -> Result<(), Refusal> {
    // Around a document are at most the lists and maps of a transaction.
    const AROUND: usize = 8;
    // Every level of a document is two of JSON: `{"L": […]}`.
    if !within(input, AROUND + 2 * DEEPEST) {
        return Err(invalid(
            "One or more parameter values were invalid: Nesting Levels have exceeded supported limits",
        ));
    }
    let mut open = vec![input];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field {
                        Value::String(text) => check_text(name, text)?,
                        other => open.push(other),
                    }
                }
            }
            Value::Array(items) => open.extend(items),
            _ => (),
        }
    }
    Ok(())
}

fn check_text(name: &str, text: &str) -> Result<(), Refusal> {
    let longest = match name {
        "Statement" => LONGEST_STATEMENT,
        name if name.ends_with("Expression") => LONGEST,
        _ => return Ok(()),
    };
    if text.len() > longest {
        let size = text.len();
        return Err(invalid(&format!(
            "Invalid {name}: Expression size has exceeded the maximum allowed size; expression size: {size}"
        )));
    }
    let operators = operators(text);
    if operators > MOST_OPERATORS {
        return Err(invalid(&format!(
            "Invalid {name}: The expression contains too many operators; operator count: {operators}"
        )));
    }
    Ok(())
}

fn operators(text: &str) -> usize {
    let signs = text.bytes().filter(|byte| b"([{".contains(byte)).count();
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    signs + words.filter(|word| ["AND", "OR", "NOT"].iter().any(|one| word.eq_ignore_ascii_case(one))).count()
}

/// Whether a value has at most so many levels.
fn within(value: &Value, levels: usize) -> bool {
    let inner = |value| levels > 0 && within(value, levels - 1);
    match value {
        Value::Object(fields) => fields.values().all(inner),
        Value::Array(items) => items.iter().all(inner),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(input: &Value) -> Option<String> {
        check(input).err().map(|refusal| refusal.message)
    }

    #[test]
    fn ordinary_calls_pass() {
        let mut document = json!({ "S": "x" });
        for _ in 0..DEEPEST {
            document = json!({ "M": { "a": document } });
        }
        let input = json!({ "TransactItems": [{ "Put": { "Item": { "d": document }, "ConditionExpression": "(a = :b) AND NOT c" } }] });
        assert_eq!(refused(&input), None);
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        let says = |input: Value, expected: &str| {
            let said = refused(&input).unwrap();
            assert!(said.contains(expected), "{said}");
        };
        says(json!({ "FilterExpression": "a".repeat(LONGEST + 1) }), "expression size: 4097");
        says(json!({ "Update": { "ConditionExpression": "(".repeat(301) } }), "operator count: 301");
        says(json!({ "KeyConditionExpression": "not ".repeat(301) }), "operator count: 301");
        let mut document = json!({});
        for _ in 0..100 {
            document = json!([document]);
        }
        says(json!({ "Item": document }), "Nesting Levels");
    }
}
