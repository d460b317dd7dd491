//! Conditions of policy statements: an operator, a condition key, and the values to compare it with.

use std::cmp::Ordering;
use std::net::IpAddr;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::Keys;
use super::pattern::{Pattern, variable_value};

/// One comparison; all conditions of a statement must hold.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    key: String,
    values: Vec<String>,
    test: Test,
    /// Whether the operator is negated: none of the values may match, rather than one of them must.
    negated: bool,
    /// Whether the operator ends in `IfExists`: the condition holds if the request lacks the key.
    if_exists: bool,
    many: Many,
}

/// The set operator: how the comparisons of a key's values are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    /// No set operator: the key is single-valued.
    One,
    AllOf,
    AnyOf,
}

#[derive(Debug, Clone, Copy)]
enum Test {
    Equal,
    EqualInAnyCase,
    Like,
    Number(fn(Ordering) -> bool),
    Date(fn(Ordering) -> bool),
    Bool,
    Address,
    Arn,
    Null,
}

/// Every operator: its name, its test, and whether it is negated.
const OPERATORS: &[(&str, Test, bool)] = &[
    ("StringEquals", Test::Equal, false),
    ("StringNotEquals", Test::Equal, true),
    ("StringEqualsIgnoreCase", Test::EqualInAnyCase, false),
    ("StringNotEqualsIgnoreCase", Test::EqualInAnyCase, true),
    ("StringLike", Test::Like, false),
    ("StringNotLike", Test::Like, true),
    ("NumericEquals", Test::Number(Ordering::is_eq), false),
    ("NumericNotEquals", Test::Number(Ordering::is_eq), true),
    ("NumericLessThan", Test::Number(Ordering::is_lt), false),
    ("NumericLessThanEquals", Test::Number(Ordering::is_le), false),
    ("NumericGreaterThan", Test::Number(Ordering::is_gt), false),
    ("NumericGreaterThanEquals", Test::Number(Ordering::is_ge), false),
    ("DateEquals", Test::Date(Ordering::is_eq), false),
    ("DateNotEquals", Test::Date(Ordering::is_eq), true),
    ("DateLessThan", Test::Date(Ordering::is_lt), false),
    ("DateLessThanEquals", Test::Date(Ordering::is_le), false),
    ("DateGreaterThan", Test::Date(Ordering::is_gt), false),
    ("DateGreaterThanEquals", Test::Date(Ordering::is_ge), false),
    ("Bool", Test::Bool, false),
    ("BinaryEquals", Test::Equal, false),
    ("IpAddress", Test::Address, false),
    ("NotIpAddress", Test::Address, true),
    ("ArnEquals", Test::Arn, false),
    ("ArnLike", Test::Arn, false),
    ("ArnNotEquals", Test::Arn, true),
    ("ArnNotLike", Test::Arn, true),
    ("Null", Test::Null, false),
];

impl Condition {
    /// Parses a statement's `Condition` block. Returns `None` if any condition in it is invalid.
    pub(super) fn all(block: Option<&Value>) -> Option<Vec<Condition>> {
        let Some(block) = block else { return Some(Vec::new()) };
        let mut conditions = Vec::new();
        for (operator, keys) in block.as_object()? {
            for (key, values) in keys.as_object()? {
                conditions.push(Condition::of(operator, key, values)?);
            }
        }
        Some(conditions)
    }

    fn of(operator: &str, key: &str, values: &Value) -> Option<Condition> {
        let (many, operator) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Many::AllOf, rest),
            Some(("ForAnyValue", rest)) => (Many::AnyOf, rest),
            Some(_) => return None,
            None => (Many::One, operator),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let (_, test, negated) = OPERATORS.iter().find(|(name, _, _)| *name == operator)?;
        let values = match values {
            Value::Array(values) => values.iter().map(text).collect::<Option<_>>()?,
            value => vec![text(value)?],
        };
        Some(Condition { key: key.to_owned(), values, test: *test, negated: *negated, if_exists, many })
    }

    /// The key that it compares.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it holds for a request with these keys; `None` if that is unknown.
    ///
    /// A key that a request merely lacks is treated as on AWS (IAM user guide, "Single-valued vs. multivalued context
    /// keys" and "...IfExists"). A key that is not computed here might have any value on AWS, so the outcome is
    /// unknown.
    pub(super) fn holds(&self, keys: &Keys) -> Option<bool> {
        let found = keys.all(&self.key);
        if found.is_empty() && !keys.knows(&self.key) {
            return None;
        }
        if matches!(self.test, Test::Null) {
            return Some(self.values.iter().any(|value| value.eq_ignore_ascii_case("true") == found.is_empty()));
        }
        if found.is_empty() && self.if_exists {
            return Some(true);
        }
        match self.many {
            // Holds for an empty set: it has no element that does not match.
            Many::AllOf => all_hold(found.iter().map(|found| self.fits(found, keys))),
            Many::AnyOf => any_holds(found.iter().map(|found| self.fits(found, keys))),
            Many::One => match found.first() {
                Some(found) => self.fits(found, keys),
                None => Some(self.negated),
            },
        }
    }

    /// The key, and the values of which a request must have one; `None` if the condition demands no certain value, or
    /// also holds for a request without the key.
    pub(super) fn demanded(&self) -> Option<(&str, &[String])> {
        let compares = match self.test {
            Test::Equal | Test::EqualInAnyCase | Test::Like | Test::Address | Test::Arn => true,
            Test::Number(_) | Test::Date(_) | Test::Bool | Test::Null => false,
        };
        let demands = compares && !self.negated && !self.if_exists && self.many != Many::AllOf;
        demands.then_some((&self.key, &self.values))
    }

    fn fits(&self, found: &str, keys: &Keys) -> Option<bool> {
        let is_met = any_holds(self.values.iter().map(|wanted| self.test.is_met(wanted, found, keys)))?;
        Some(is_met != self.negated)
    }
}

/// Three-valued AND (`None` is unknown): a false verdict decides even if others are unknown.
pub(super) fn all_hold(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for verdict in verdicts {
        match verdict {
            Some(true) => (),
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

/// Three-valued OR (`None` is unknown): a true verdict decides even if others are unknown.
pub(super) fn any_holds(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all_hold(verdicts.map(|verdict| verdict.map(|holds| !holds))).map(|none| !none)
}

impl Test {
    /// Whether a value in the request matches the wanted one; `None` if the two cannot be compared.
    fn is_met(self, wanted: &str, found: &str, keys: &Keys) -> Option<bool> {
        match self {
            Test::Equal => Some(literal(wanted, keys)? == found),
            Test::EqualInAnyCase => Some(literal(wanted, keys)?.to_lowercase() == found.to_lowercase()),
            Test::Like => Some(Pattern::with_variables(wanted, |key| keys.one(key))?.fits(found)),
            Test::Number(holds) => {
                let (found, wanted): (f64, f64) = (found.parse().ok()?, wanted.parse().ok()?);
                found.partial_cmp(&wanted).map(holds)
            }
            Test::Date(holds) => Some(holds(moment(found)?.cmp(&moment(wanted)?))),
            Test::Bool => Some(wanted.eq_ignore_ascii_case(found)),
            Test::Address => is_in_network(wanted, found),
            Test::Arn => is_like_arn(wanted, found, keys),
            // Already decided by the presence of the key.
            Test::Null => Some(false),
        }
    }
}

/// The text of a value; booleans and numbers may be unquoted.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Substitutes the variables in a value; no other characters are special. Returns `None` if a variable is unterminated,
/// or has neither a value nor a default.
fn literal(text: &str, keys: &Keys) -> Option<String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, behind) = after.split_once('}')?;
        whole += before;
        whole += &variable_value(variable, |key| keys.one(key))?;
        rest = behind;
    }
    Some(whole + rest)
}

/// Parses a time: RFC 3339, a date, or Unix seconds.
fn moment(text: &str) -> Option<OffsetDateTime> {
    let day = || {
        let format = time::macros::format_description!("[year]-[month]-[day]");
        Date::parse(text, format).ok().map(|day| day.midnight().assume_utc())
    };
    let seconds = || text.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day).or_else(seconds)
}

/// Whether an address is in a network such as `10.0.0.0/8`, or equals a single address; `None` if either is invalid.
fn is_in_network(network: &str, address: &str) -> Option<bool> {
    let address = address.parse::<IpAddr>().ok()?;
    let (network, length) = match network.split_once('/') {
        Some((network, length)) => (network, length.parse().ok()?),
        None => (network, 128),
    };
    let network = network.parse::<IpAddr>().ok()?;
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((network, width), (address, of_address)) = (bits(network), bits(address));
    let length: u32 = u32::min(length, width);
    Some(width == of_address && (length == 0 || (network ^ address) >> (128 - length) == 0))
}

/// Compares ARNs part by part: a `*` in one part does not match into the next.
fn is_like_arn(wanted: &str, found: &str, keys: &Keys) -> Option<bool> {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.splitn(6, ':').collect(), found.splitn(6, ':').collect());
    if wanted.len() != found.len() {
        return Some(false);
    }
    all_hold(
        wanted.iter().zip(&found).map(|(wanted, found)| {
            Pattern::with_variables(wanted, |key| keys.one(key)).map(|pattern| pattern.fits(found))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys() -> Keys {
        let mut keys = Keys::default();
        keys.set("aws:SourceIp", "127.0.0.1");
        keys.set("s3:prefix", "home/ada/");
        keys.set("s3:max-keys", "10");
        keys.set("aws:CurrentTime", "2026-06-01T12:00:00Z");
        keys.set("aws:SecureTransport", "true");
        keys.set("aws:userid", "ada");
        keys.set("aws:SourceArn", "arn:aws:s3:::images");
        keys.add("aws:TagKeys", "team");
        keys.add("aws:TagKeys", "cost");
        keys
    }

    fn outcome(operator: &str, key: &str, values: Value) -> Option<bool> {
        let conditions = Condition::all(Some(&json!({ operator: { key: values } }))).unwrap();
        all_hold(conditions.iter().map(|one| one.holds(&keys())))
    }

    fn holds(operator: &str, key: &str, values: Value) -> bool {
        outcome(operator, key, values) == Some(true)
    }

    #[test]
    fn operators_compare_as_iam_does() {
        for (operator, key, values, expected) in [
            ("StringEquals", "S3:Prefix", json!(["x", "home/ada/"]), true),
            ("StringEquals", "s3:prefix", json!("home/*"), false),
            ("StringEquals", "s3:prefix", json!("home/${aws:userid}/"), true),
            ("StringNotEquals", "s3:prefix", json!(["x", "home/ada/"]), false),
            ("StringEqualsIgnoreCase", "s3:prefix", json!("HOME/ada/"), true),
            ("StringLike", "s3:prefix", json!("home/*"), true),
            ("StringNotLike", "s3:prefix", json!("home/*"), false),
            ("NumericLessThanEquals", "s3:max-keys", json!(10), true),
            ("NumericGreaterThan", "s3:max-keys", json!("10"), false),
            ("NumericEquals", "s3:max-keys", json!("ten"), false),
            ("DateLessThan", "aws:CurrentTime", json!("2026-06-02"), true),
            ("DateGreaterThan", "aws:CurrentTime", json!("2026-06-01T12:00:00Z"), false),
            ("Bool", "aws:SecureTransport", json!(true), true),
            ("Bool", "aws:SecureTransport", json!("false"), false),
            ("IpAddress", "aws:SourceIp", json!("127.0.0.0/8"), true),
            ("IpAddress", "aws:SourceIp", json!(["10.0.0.0/8", "::/0"]), false),
            ("NotIpAddress", "aws:SourceIp", json!("127.0.0.1"), false),
            ("IpAddress", "aws:SourceIp", json!("0.0.0.0/0"), true),
            ("ArnLike", "aws:SourceArn", json!("arn:aws:s3:::im*"), true),
            ("ArnLike", "aws:SourceArn", json!("arn:*:images"), false),
            ("ArnNotEquals", "aws:SourceArn", json!("arn:aws:s3:::images"), false),
        ] {
            assert_eq!(holds(operator, key, values.clone()), expected, "{operator} {key} {values}");
        }
    }

    #[test]
    fn a_missing_key_fails_unless_the_operator_allows_it() {
        assert!(!holds("StringEquals", "aws:username", json!("ada")));
        assert!(holds("StringEqualsIfExists", "aws:username", json!("ada")));
        assert!(holds("StringNotEquals", "aws:username", json!("ada")));
        assert!(holds("Null", "aws:username", json!(true)));
        assert!(!holds("Null", "aws:userid", json!("true")));
        assert!(holds("Null", "aws:userid", json!("false")));
    }

    #[test]
    fn of_several_values_all_or_any_are_meant() {
        assert!(holds("ForAllValues:StringEquals", "aws:TagKeys", json!(["team", "cost", "more"])));
        assert!(!holds("ForAllValues:StringEquals", "aws:TagKeys", json!("team")));
        assert!(holds("ForAnyValue:StringEquals", "aws:TagKeys", json!("cost")));
        assert!(
            holds("ForAllValues:StringEquals", "aws:CalledVia", json!("x")),
            "an empty set has nothing that differs"
        );
        assert!(!holds("ForAnyValue:StringEquals", "aws:CalledVia", json!("x")));
        assert!(!holds("ForAnyValue:StringNotEquals", "aws:CalledVia", json!("x")));
        assert!(holds("ForAnyValue:StringEqualsIfExists", "aws:CalledVia", json!("x")));
    }

    #[test]
    fn a_key_that_is_not_computed_is_undecided() {
        for (operator, _, _) in OPERATORS {
            for set in ["", "ForAllValues:", "ForAnyValue:"] {
                for if_exists in ["", "IfExists"] {
                    // Every operator can parse at least one of these values.
                    for value in
                        [json!("true"), json!("1"), json!("2026-06-01"), json!("10.0.0.0/8"), json!("a:b:c:d:e:f")]
                    {
                        let operator = format!("{set}{operator}{if_exists}");
                        assert_eq!(outcome(&operator, "dynamodb:LeadingKeys", value), None, "{operator}");
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_cannot_be_compared_are_undecided() {
        for (operator, key, value) in [
            ("NumericEquals", "s3:max-keys", "ten"),
            ("NumericNotEquals", "s3:max-keys", "ten"),
            ("DateNotEquals", "aws:CurrentTime", "tomorrow"),
            ("NotIpAddress", "aws:SourceIp", "home"),
            ("StringNotEquals", "s3:prefix", "${aws:username}"),
            ("StringNotLike", "s3:prefix", "${dynamodb:LeadingKeys}*"),
        ] {
            assert_eq!(outcome(operator, key, json!(value)), None, "{operator} {value}");
        }
        assert!(holds("StringNotEquals", "s3:prefix", json!("${aws:username, 'nobody'}")), "a default is a value");
    }

    #[test]
    fn an_unknown_operator_is_refused() {
        for operator in ["StringMaybe", "ForSome:StringEquals", "IfExists"] {
            assert!(Condition::all(Some(&json!({ operator: { "a": "b" } }))).is_none(), "{operator}");
        }
        assert!(Condition::all(Some(&json!({ "StringEquals": { "a": { "b": 1 } } }))).is_none());
    }
}
