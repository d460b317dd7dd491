//! STS: who is calling, and temporary credentials.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::ACCOUNT;
use crate::answer::{Protocol, Refusal, Response, escape, not_implemented, query_result};
use crate::call::Request;
use crate::credentials::{Access, Identity, Issued};
use crate::iam::Iam;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// What is answered; everything else is refused by name.
pub(crate) const OPERATIONS: &[&str] = &["AssumeRole", "GetCallerIdentity", "GetSessionToken"];

/// Answers `operation` of `caller`.
pub(crate) fn answer(operation: &str, request: &Request, access: &Access, iam: &Iam, caller: &Identity) -> Response {
    if !OPERATIONS.contains(&operation) {
        return not_implemented(Protocol::Query, "sts", operation);
    }
    let answer = match operation {
        "GetCallerIdentity" => Ok(query_result(operation, NAMESPACE, &identity(caller))),
        "GetSessionToken" => session_token(request, access, caller),
        _ => assume_role(request, access, iam, caller),
    };
    answer.unwrap_or_else(|refusal| refusal.answer(Protocol::Query))
}

fn identity(caller: &Identity) -> String {
    format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{ACCOUNT}</Account>",
        escape(&caller.arn()),
        escape(&caller.user_id())
    )
}

fn session_token(request: &Request, access: &Access, caller: &Identity) -> Result<Response, Refusal> {
    if caller.session.is_some() {
        return Err(Refusal::new(403, "AccessDenied", "Cannot call GetSessionToken with session credentials"));
    }
    let issued = access.issue_to_user(life(request, 43_200)).map_err(unwritten)?;
    Ok(query_result("GetSessionToken", NAMESPACE, &credentials(&issued)))
}

/// Only whom the role trusts may take it on; the account's owner is no exception.
fn assume_role(request: &Request, access: &Access, iam: &Iam, caller: &Identity) -> Result<Response, Refusal> {
    let form = request.form();
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
    if form.keys().any(|field| field == "Policy" || field.starts_with("PolicyArns")) {
        let text = "the local AWS has no session policies";
        return Err(Refusal::new(501, "NotImplementedException", text));
    }
    let principal = caller.role().map_or_else(|| caller.arn(), |name| iam.role_arn(name).unwrap_or_default());
    if !iam.trusts_principal(role, &principal) {
        let text = format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role}", caller.arn());
        return Err(Refusal::new(403, "AccessDenied", text));
    }
    let issued = access.issue(role, session, life(request, 3600)).map_err(unwritten)?;
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

fn credentials(issued: &Issued) -> String {
    let Issued { access_key, secret_key, token, expires, .. } = issued;
    format!(
        "<Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
        moment(*expires)
    )
}

fn moment(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).expect("the years of expiry dates have four digits")
}

fn life(request: &Request, default: i64) -> Duration {
    let asked = request.form().get("DurationSeconds").and_then(|text| text.parse().ok());
    Duration::seconds(asked.unwrap_or(default).clamp(900, 129_600))
}
