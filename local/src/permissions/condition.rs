//! The conditions of statements: an operator, a key of the call, and the values it is compared with.

use std::cmp::Ordering;
use std::net::IpAddr;

use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime};

use super::Keys;
use super::pattern::Pattern;

/// One comparison; all of a statement's must hold.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    key: String,
    values: Vec<String>,
    test: Test,
    /// Whether "none of them" is meant rather than "one of them".
    negated: bool,
    /// What a key that the call does not have makes of it.
    if_exists: bool,
    many: Many,
}

/// How the several values of a key are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    /// There is one.
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

/// Every operator: its name, what it tests, and whether it means the contrary.
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
    /// The conditions in a statement's `Condition`; nothing where one of them cannot be read.
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

    /// Whether it holds for a call that says this of itself.
    pub(super) fn holds(&self, keys: &Keys) -> bool {
        let found = keys.all(&self.key);
        if matches!(self.test, Test::Null) {
            return self.values.iter().any(|value| value.eq_ignore_ascii_case("true") == found.is_empty());
        }
        match self.many {
            // A set without elements has none that does not fit.
            Many::AllOf => found.iter().all(|found| self.fits(found, keys)),
            Many::AnyOf => found.iter().any(|found| self.fits(found, keys)),
            Many::One => match found.first() {
                Some(found) => self.fits(found, keys),
                None => self.if_exists || self.negated,
            },
        }
    }

    fn fits(&self, found: &str, keys: &Keys) -> bool {
        self.values.iter().any(|wanted| self.test.is_met(wanted, found, keys)) != self.negated
    }
}

impl Test {
    fn is_met(self, wanted: &str, found: &str, keys: &Keys) -> bool {
        let pattern = || Pattern::with_variables(wanted, |key| keys.one(key));
        match self {
            Test::Equal => literal(wanted, keys).is_some_and(|wanted| wanted == found),
            Test::EqualInAnyCase => {
                literal(wanted, keys).is_some_and(|wanted| wanted.to_lowercase() == found.to_lowercase())
            }
            Test::Like => pattern().is_some_and(|pattern| pattern.fits(found)),
            Test::Number(holds) => {
                let order = |found: f64, wanted: f64| found.partial_cmp(&wanted);
                let numbers = found.parse().ok().zip(wanted.parse().ok());
                numbers.and_then(|(found, wanted)| order(found, wanted)).is_some_and(holds)
            }
            Test::Date(holds) => {
                moment(found).zip(moment(wanted)).is_some_and(|(found, wanted)| holds(found.cmp(&wanted)))
            }
            Test::Bool => wanted.eq_ignore_ascii_case(found),
            Test::Address => is_in_network(wanted, found),
            Test::Arn => is_like_arn(wanted, found, keys),
            // Answered by the key alone.
            Test::Null => false,
        }
    }
}

/// Booleans and numbers may stand without quotes.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A value in which only variables are special.
fn literal(text: &str, keys: &Keys) -> Option<String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (key, behind) = after.split_once('}')?;
        whole += before;
        match key {
            "*" | "?" | "$" => whole += key,
            key => whole += &keys.one(key)?,
        }
        rest = behind;
    }
    Some(whole + rest)
}

/// A time as RFC 3339 or a day, or seconds since 1970.
fn moment(text: &str) -> Option<OffsetDateTime> {
    let day = || {
        let format = time::macros::format_description!("[year]-[month]-[day]");
        Date::parse(text, format).ok().map(|day| day.midnight().assume_utc())
    };
    let seconds = || text.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    OffsetDateTime::parse(text, &Rfc3339).ok().or_else(day).or_else(seconds)
}

/// Whether an address is in a network such as `10.0.0.0/8`, or is that very address.
fn is_in_network(network: &str, address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let (network, length) = match network.split_once('/') {
        Some((network, length)) => (network, length.parse().ok()),
        None => (network, Some(128)),
    };
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else { return false };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((network, width), (address, of_address)) = (bits(network), bits(address));
    let length: u32 = u32::min(length, width);
    width == of_address && (length == 0 || (network ^ address) >> (128 - length) == 0)
}

/// ARNs are compared part by part: a star of one part does not reach into the next.
fn is_like_arn(wanted: &str, found: &str, keys: &Keys) -> bool {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.splitn(6, ':').collect(), found.splitn(6, ':').collect());
    let fits = |(wanted, found): (&&str, &&str)| {
        Pattern::with_variables(wanted, |key| keys.one(key)).is_some_and(|pattern| pattern.fits(found))
    };
    wanted.len() == found.len() && wanted.iter().zip(&found).all(fits)
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

    fn holds(operator: &str, key: &str, values: Value) -> bool {
        Condition::all(Some(&json!({ operator: { key: values } }))).unwrap().iter().all(|one| one.holds(&keys()))
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
    fn what_the_call_does_not_say_fails_unless_it_may_be_missing() {
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
        assert!(holds("ForAllValues:StringEquals", "dynamodb:Attributes", json!("x")));
        assert!(!holds("ForAnyValue:StringEquals", "dynamodb:Attributes", json!("x")));
    }

    #[test]
    fn an_operator_nobody_knows_is_no_condition() {
        for operator in ["StringMaybe", "ForSome:StringEquals", "IfExists"] {
            assert!(Condition::all(Some(&json!({ operator: { "a": "b" } }))).is_none(), "{operator}");
        }
        assert!(Condition::all(Some(&json!({ "StringEquals": { "a": { "b": 1 } } }))).is_none());
    }
}
