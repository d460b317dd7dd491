//! Requests for certificates (docs/aws.md §22.1).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::certificate::{Certificate, Validation};
use super::{Answer, Context, State, tags, times};
use crate::authority::Algorithm;
use crate::clock::after;
use kit::ACCOUNT;
use kit::answer::Refusal;
use kit::constraint;

/// The default quotas of domain names of a certificate, and of certificates.
const MOST_NAMES: usize = 10;
const MOST_CERTIFICATES: usize = 2500;
/// The maximum length of the first domain name in bytes, which is the subject's common name.
const LONGEST_FIRST: usize = 64;

const PATTERN: &str = r"(\*\.)?(((?!-)[A-Za-z0-9-]{0,62}[A-Za-z0-9])\.)+((?!-)[A-Za-z0-9-]{1,62}[A-Za-z0-9])";

/// The top-level domains that are not public (RFC 2606 and 6762, ICANN). `localhost` is allowed here: browsers resolve it
/// to this machine.
const NOT_PUBLIC: &[&str] =
    &["corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "private", "test"];

fn validation(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "ValidationException", text)
}

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "InvalidParameterException", text)
}

pub fn request(state: &mut State, context: &Context, input: &Value) -> Answer {
    if input["ValidationMethod"].is_null() {
        // The default is e-mail.
        return Err(kit::parameters::refusal(
            "the local AWS validates through DNS only: ValidationMethod=DNS".to_owned(),
        ));
    }
    let names = names(input)?;
    let algorithm = algorithm(input)?;
    let token = token(input)?;
    if !input["Tags"].is_null() {
        tags::check_model(input)?;
    }
    for (member, most) in [("SubjectAlternativeNames", 100), ("DomainValidationOptions", 100)] {
        if let Some(items) = input[member].as_array() {
            constraint::bound(&constraint::member(member), items.len(), 1..=most).map_err(validation)?;
        }
    }
    for option in input["DomainValidationOptions"].as_array().into_iter().flatten() {
        let (domain, of) = (option["DomainName"].as_str(), option["ValidationDomain"].as_str());
        let fits = domain.zip(of).is_some_and(|(domain, of)| domain == of || domain.ends_with(&format!(".{of}")));
        if !fits {
            let text = "One or more values in the DomainValidationOption structure is incorrect.";
            return Err(Refusal::new(400, "InvalidDomainValidationOptionsException", text));
        }
    }
    let wanted: BTreeMap<String, String> = tags::wanted(input, &BTreeMap::new())?;
    let is_same = |certificate: &Certificate| {
        let age_ends = after(certificate.created_ms, context.speed.takes(times::TOKEN_S));
        token.is_some() && certificate.token == token && certificate.names == names && context.now_ms < age_ends
    };
    if let Some((arn, _)) = state.iter().find(|(_, certificate)| is_same(certificate)) {
        return Ok(json!({ "CertificateArn": arn }));
    }
    if state.len() >= MOST_CERTIFICATES {
        let text = format!("The maximum number of {MOST_CERTIFICATES} certificates has been reached.");
        return Err(Refusal::new(400, "LimitExceededException", text));
    }
    let arn = format!("arn:aws:acm:{}:{ACCOUNT}:certificate/{}", context.region, Uuid::new_v4());
    let top = |name: &String| name.rsplit('.').next().is_some_and(|top| NOT_PUBLIC.contains(&top));
    let failure = names.iter().any(top).then(|| "INVALID_PUBLIC_DOMAIN".to_owned());
    let of = |domain: &String| Validation { domain: domain.clone(), seen_ms: None, is_done: false };
    let transparency = &input["Options"]["CertificateTransparencyLoggingPreference"];
    let certificate = Certificate {
        validations: names.iter().map(of).collect(),
        names,
        algorithm,
        created_ms: context.now_ms,
        token,
        tags: wanted,
        transparency: transparency.as_str().unwrap_or("ENABLED").to_owned(),
        failure,
        timed_out: false,
        issued: None,
        users: BTreeMap::new(),
    };
    state.insert(arn.clone(), certificate);
    Ok(json!({ "CertificateArn": arn }))
}

fn names(input: &Value) -> Result<Vec<String>, Refusal> {
    let first = input["DomainName"].as_str().unwrap_or_default();
    let others = input["SubjectAlternativeNames"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<String> = Vec::new();
    for (at, name) in std::iter::once(first).chain(others).enumerate() {
        if !is_domain(name) {
            let place = match at {
                0 => "domainName".to_owned(),
                at => format!("subjectAlternativeNames.{at}.member"),
            };
            return Err(validation(format!(
                "1 validation error detected: Value '{name}' at '{place}' failed to satisfy constraint: Member must satisfy regular expression pattern: {PATTERN}"
            )));
        }
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names[0].len() > LONGEST_FIRST {
        return Err(invalid(format!("The first domain name can have no more than {LONGEST_FIRST} characters.")));
    }
    if names.len() > MOST_NAMES {
        let text = format!("Error: You have exceeded the maximum number of {MOST_NAMES} domain names per certificate.");
        return Err(Refusal::new(400, "LimitExceededException", text));
    }
    Ok(names)
}

/// Whether a name matches [`PATTERN`] and is no longer than 253 characters.
fn is_domain(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let labels: Vec<&str> = plain.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253
        && labels.len() > 1
        && labels.iter().all(is_label)
        && labels.last().is_some_and(|top| top.len() > 1)
}

fn algorithm(input: &Value) -> Result<Algorithm, Refusal> {
    let asked = input["KeyAlgorithm"].as_str().unwrap_or("RSA_2048");
    let known = Algorithm::NAMES.iter().find(|(name, ..)| *name == asked);
    known
        .map(|(.., algorithm)| *algorithm)
        .ok_or_else(|| invalid(format!("The key algorithm {asked} is not supported for certificates that ACM issues.")))
}

fn token(input: &Value) -> Result<Option<String>, Refusal> {
    let Some(token) = input["IdempotencyToken"].as_str() else { return Ok(None) };
    let is_word = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match (1..=32).contains(&token.len()) && is_word {
        true => Ok(Some(token.to_owned())),
        false => Err(validation(format!(
            r"1 validation error detected: Value '{token}' at 'idempotencyToken' failed to satisfy constraint: Member must satisfy regular expression pattern: \w+"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names_have_two_labels_of_letters_and_digits() {
        for good in ["example.com", "*.example.com", "a-b.c1.example.com", "app.localhost"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "com", "*.com.", "*", "a..b", "-a.com", "a-.com", "a_b.com", "a.*.com", "b.c", "é.com"] {
            assert!(!is_domain(bad), "{bad}");
        }
        let names = |input: Value| names(&input).map_err(|refusal| refusal.code);
        let twice = json!({ "DomainName": "A.com", "SubjectAlternativeNames": ["a.com", "*.a.com"] });
        assert_eq!(names(twice).unwrap(), ["a.com", "*.a.com"]);
        let long = format!("{}.{}.com", "a".repeat(40), "b".repeat(40));
        assert_eq!(names(json!({ "DomainName": long })).unwrap_err(), "InvalidParameterException");
        let many: Vec<String> = (0..10).map(|number| format!("a{number}.com")).collect();
        let many = json!({ "DomainName": "a.com", "SubjectAlternativeNames": many });
        assert_eq!(names(many).unwrap_err(), "LimitExceededException");
    }
}
