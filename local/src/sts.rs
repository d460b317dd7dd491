//! STS: who is calling, and temporary credentials.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::ACCOUNT;
use crate::answer::{Protocol, Refusal, Response, escape, not_implemented, query_result};
use crate::call::Request;
use crate::credentials::{Access, Identity, Issued};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Answers `operation` of `caller`.
pub(crate) fn answer(operation: &str, request: &Request, access: &Access, caller: &Identity) -> Response {
    match operation {
        "GetCallerIdentity" => query_result(operation, NAMESPACE, &identity(caller)),
        "GetSessionToken" => session_token(request, access),
        "AssumeRole" => assume_role(request, access).unwrap_or_else(|refusal| refusal.answer(Protocol::Query)),
        _ => not_implemented(Protocol::Query, "sts", operation),
    }
}

fn identity(caller: &Identity) -> String {
    format!(
        "<Arn>{}</Arn><UserId>{}</UserId><Account>{ACCOUNT}</Account>",
        escape(&caller.arn()),
        escape(&caller.user_id())
    )
}

fn session_token(request: &Request, access: &Access) -> Response {
    let issued = access.issue("user", "local", life(request, 43_200));
    query_result("GetSessionToken", NAMESPACE, &credentials(&issued))
}

fn assume_role(request: &Request, access: &Access) -> Result<Response, Refusal> {
    let form = request.form();
    let missing = |name: &str| Refusal::new(400, "ValidationError", format!("{name} is missing"));
    let role = form.get("RoleArn").ok_or_else(|| missing("RoleArn"))?;
    let session = form.get("RoleSessionName").ok_or_else(|| missing("RoleSessionName"))?;
    let issued = access.issue(role, session, life(request, 3600));
    let user = format!(
        "<AssumedRoleUser><Arn>{}</Arn><AssumedRoleId>{}</AssumedRoleId></AssumedRoleUser>",
        escape(&issued.arn),
        escape(&issued.user_id)
    );
    Ok(query_result("AssumeRole", NAMESPACE, &(credentials(&issued) + &user)))
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
