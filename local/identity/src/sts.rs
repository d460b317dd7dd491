//! STS: the caller's identity, and temporary credentials.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::credentials::{Access, Identity, TemporaryCredentials};
use crate::iam::Iam;
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, escape, query_result};
use kit::call::{Call, Effect, Form, Need, Needs, Operation, Rows};
use kit::parameters;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The supported operations and parameters; any other is refused by name.
const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "AssumeRole",
        Effect::Reads,
        Needs::On("{RoleArn}"),
        None,
        "DurationSeconds ExternalId RoleArn RoleSessionName",
        assume_role,
    ),
    // Any caller may get its own identity (docs/aws.md §3.1).
    Operation::new("GetCallerIdentity", Effect::Reads, Needs::Nothing, None, "", identity),
    Operation::new("GetSessionToken", Effect::Reads, Needs::Nothing, None, "DurationSeconds", session_token),
];

type Run = fn(&Form, &Desk) -> Result<Response, Refusal>;

/// The context of a call: its caller, its region, and the credentials and roles.
pub struct Desk<'a> {
    /// The store that issues credentials.
    pub access: &'a Access,
    /// The roles.
    pub iam: &'a Iam,
    /// The caller.
    pub caller: &'a Identity,
    /// The region the call is sent to.
    pub region: &'a str,
}

/// The row of each operation.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

/// Answers a call; `None` means that there is no such operation.
pub fn answer(call: &Call, desk: &Desk) -> Option<Response> {
    let operation = Operation::find(OPERATIONS, &call.operation)?;
    let form = call.input.form();
    let answer = parameters::check_form(operation.parameters, form).map_err(parameters::refusal);
    let answer = answer.and_then(|()| (operation.run)(form, desk));
    Some(answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Query)))
}

fn identity(_form: &Form, Desk { caller, .. }: &Desk) -> Result<Response, Refusal> {
    let identity = format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{ACCOUNT}</Account>",
        escape(&caller.arn()),
        escape(&caller.user_id())
    );
    Ok(query_result("GetCallerIdentity", NAMESPACE, &identity))
}

fn session_token(form: &Form, Desk { access, caller, .. }: &Desk) -> Result<Response, Refusal> {
    if caller.session.is_some() || caller.is_student {
        return Err(Refusal::new(403, "AccessDenied", "Cannot call GetSessionToken with session credentials"));
    }
    let life = Duration::seconds(seconds(form, 43_200, 129_600)?);
    let issued = access.issue_to_user(life).map_err(unwritten)?;
    Ok(query_result("GetSessionToken", NAMESPACE, &credentials(&issued)))
}

/// Only principals that the role trusts may assume it. This applies to the account's owner, too.
fn assume_role(form: &Form, Desk { access, iam, caller, region }: &Desk) -> Result<Response, Refusal> {
    let missing = |name: &str| Refusal::new(400, "ValidationError", format!("{name} is missing"));
    let role = form.get("RoleArn").ok_or_else(|| missing("RoleArn"))?;
    let session = form.get("RoleSessionName").ok_or_else(|| missing("RoleSessionName"))?;
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if !(2..=64).contains(&session.len()) || !session.bytes().all(letters) {
        let text = format!(
            "1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        );
        return Err(Refusal::new(400, "ValidationError", text));
    }
    let seconds = seconds(form, 3600, 43_200)?;
    let principal = caller.role().map_or_else(|| caller.arn(), |name| iam.role_arn(name).unwrap_or_default());
    let need = Need::new("sts:AssumeRole", role).knowing("sts:RoleSessionName", Some(session.clone()));
    let need = need.knowing("sts:ExternalId", form.get("ExternalId").cloned());
    if !iam.trusts_principal(role, &principal, &iam.caller(caller, region).says(&need)) {
        let text = format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role}", caller.arn());
        return Err(Refusal::new(403, "AccessDenied", text));
    }
    check_session(seconds, iam.longest_session(role).unwrap_or(3600), caller)?;
    let issued = access.issue(role, session, Duration::seconds(seconds)).map_err(unwritten)?;
    let user = format!(
        "<AssumedRoleUser><Arn>{}</Arn><AssumedRoleId>{}</AssumedRoleId></AssumedRoleUser>",
        escape(&issued.arn),
        escape(&issued.user_id)
    );
    Ok(query_result("AssumeRole", NAMESPACE, &(credentials(&issued) + &user)))
}

fn unwritten(fault: std::io::Error) -> Refusal {
    Refusal::new(500, "InternalFailure", format!("the local AWS cannot write its credentials: {fault}"))
}

fn credentials(issued: &TemporaryCredentials) -> String {
    let TemporaryCredentials { access_key, secret_key, token, expires, .. } = issued;
    format!(
        "<Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
        moment(*expires)
    )
}

fn moment(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).expect("the years of expiry dates have four digits")
}

/// The requested duration of a session in seconds: `default` if there is none, and from 900 to `most`.
fn seconds(form: &Form, default: i64, most: i64) -> Result<i64, Refusal> {
    let Some(text) = form.get("DurationSeconds") else { return Ok(default) };
    let bound = match text.parse::<i64>() {
        Ok(seconds) if seconds < 900 => "greater than or equal to 900".to_owned(),
        Ok(seconds) if seconds > most => format!("less than or equal to {most}"),
        Ok(seconds) => return Ok(seconds),
        Err(_) => {
            let text = format!("DurationSeconds: {text} is not a number");
            return Err(Refusal::new(400, "MalformedInput", text));
        }
    };
    let text = format!(
        "1 validation error detected: Value '{text}' at 'durationSeconds' failed to satisfy constraint: Member must have value {bound}"
    );
    Err(Refusal::new(400, "ValidationError", text))
}

/// Checks a session's duration against the role's maximum, and against the limit of one hour for role chaining.
fn check_session(seconds: i64, longest: i64, caller: &Identity) -> Result<(), Refusal> {
    let text = if caller.role().is_some() && seconds > 3600 {
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
    } else if seconds > longest {
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    } else {
        return Ok(());
    };
    Err(Refusal::new(400, "ValidationError", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Access;

    fn asking(seconds: &str) -> Form {
        [("DurationSeconds".to_owned(), seconds.to_owned())].into()
    }

    #[test]
    fn sessions_that_are_too_short_or_too_long_are_refused() {
        for (asked, expected) in [
            ("900", Ok(900)),
            ("43200", Ok(43_200)),
            ("899", Err("ValidationError")),
            ("-1", Err("ValidationError")),
            ("43201", Err("ValidationError")),
            ("an hour", Err("MalformedInput")),
        ] {
            let found = seconds(&asking(asked), 3600, 43_200).map_err(|refusal| refusal.code);
            assert_eq!(found, expected.map_err(str::to_owned), "{asked}");
        }
    }

    #[test]
    fn a_role_and_a_chain_of_roles_bound_the_session() {
        let dir = tempfile::tempdir().unwrap();
        let access = Access::open(dir.path().join("credentials.json"), Default::default()).unwrap();
        let owner = access.identity(kit::ACCESS_KEY).unwrap();
        let issued = access.issue("web", "i-1", Duration::hours(1)).unwrap();
        let in_role = access.identity(&issued.access_key).unwrap();
        assert!(check_session(7200, 7200, &owner).is_ok());
        assert!(check_session(7201, 7200, &owner).unwrap_err().message.contains("MaxSessionDuration"));
        assert!(check_session(3600, 7200, &in_role).is_ok());
        assert!(check_session(3601, 7200, &in_role).unwrap_err().message.contains("role chaining"));
    }
}
