//! The first call: returns the caller's identity, or the reason why AWS does not.

use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_sdk_sts::{
    config,
    operation::get_caller_identity::{GetCallerIdentityError, GetCallerIdentityOutput},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::Instant;

use super::{CredentialSource, Trouble, chain, provider::ANSWER_WITHIN, source::REACH};
use crate::{
    cloud::{aws::Aws, remedies, site::Site},
    engine::Fault,
    output::{exit::Failure, report},
};

type Refusal = SdkError<GetCallerIdentityError, HttpResponse>;

/// The most attempts with a server that answers, but with errors.
const ATTEMPTS: usize = 8;

/// The regions that every account has; all others have to be enabled (AWS General Reference, "AWS Regions": those
/// launched after 20 March 2019 are disabled by default).
#[rustfmt::skip]
const ALWAYS_ON: &[&str] = &[
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1",
    "us-east-2", "us-west-1", "us-west-2",
    "cn-north-1", "cn-northwest-1", "us-gov-east-1", "us-gov-west-1",
];

/// Signs in, and asks AWS for the account.
///
/// Errors: within a few seconds, with the source of the credentials and its remedy.
pub async fn identify(aws: &Aws) -> Result<Site, Failure> {
    let Some(provider) = &aws.provider else {
        return Site::identity(aws).await.map_err(|fault| Failure::to("find out whose credentials these are", fault));
    };
    let source = provider.source();
    let signing_in = format!("signing in with {}", source.name());
    report::meanwhile(&signing_in, async {
        provider.prepare().await?;
        first_answer(aws, source).await
    })
    .await
}

async fn first_answer(aws: &Aws, source: &CredentialSource) -> Result<Site, Failure> {
    let begun = Instant::now();
    let mut rest = first_rest(aws);
    let (mut attempts, mut last) = (1, None);
    loop {
        let refusal = match in_time(aws, begun).await {
            None => {
                // The failure of an earlier attempt explains more than the timeout of this one.
                if let Some(refusal) = last {
                    return Err(explained(aws, source, refusal));
                }
                let cause = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
                return Err(unanswered(aws, source, &cause).into());
            }
            Some(Ok(identity)) => return site(aws, source, &identity),
            Some(Err(refusal)) => refusal,
        };
        // A server on this machine is reachable, only slow.
        let is_slow = aws.is_here() && is_timeout(&refusal);
        let is_too_late = !aws.began.is_known() && !is_slow && begun.elapsed() + rest > ANSWER_WITHIN;
        if attempts == ATTEMPTS || is_too_late || is_final(&refusal) {
            return Err(explained(aws, source, refusal));
        }
        last = Some(refusal);
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(Duration::from_secs(5));
        attempts += 1;
    }
}

fn first_rest(aws: &Aws) -> Duration {
    Duration::from_millis(if aws.is_here() { 20 } else { 300 })
}

/// One attempt. A remote server that has sent nothing by the time limit is not tried again.
async fn in_time(aws: &Aws, begun: Instant) -> Option<Result<GetCallerIdentityOutput, Refusal>> {
    // Two, because the second one uses AWS's clock.
    let retries = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(first_rest(aws));
    let patient = config::Config::builder().retry_config(retries);
    let call = aws.sts.get_caller_identity().customize().config_override(patient).send();
    tokio::pin!(call);
    if aws.is_here() {
        return Some(call.await);
    }
    match tokio::time::timeout_at(begun + ANSWER_WITHIN, &mut call).await {
        Ok(answer) => Some(answer),
        Err(_) if aws.began.is_known() => Some(call.await),
        Err(_) => None,
    }
}

fn is_timeout(refusal: &Refusal) -> bool {
    match refusal {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_timeout(),
        _ => false,
    }
}

/// Whether asking again would give the same result.
fn is_final(refusal: &Refusal) -> bool {
    if Trouble::behind(refusal).is_some() || web_page(refusal).is_some() {
        return true;
    }
    match refusal {
        SdkError::ServiceError(_) => {
            let status = refusal.raw_response().map_or(0, |response| response.status().as_u16());
            (status < 500 || status == 501)
                && status != 429
                && !refusal.code().is_some_and(|code| code.contains("Throttl"))
        }
        SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_user(),
        _ => false,
    }
}

fn site(aws: &Aws, source: &CredentialSource, identity: &GetCallerIdentityOutput) -> Result<Site, Failure> {
    match (identity.account(), identity.arn()) {
        (Some(account), Some(arn)) if account.len() == 12 && account.chars().all(|c| c.is_ascii_digit()) => {
            let is_emulated = aws.endpoint.is_some();
            Ok(Site { account: account.into(), caller_arn: arn.into(), region: aws.region.clone(), is_emulated })
        }
        _ => Err(source.failed(format!("{} answers without an account", server(aws)), NOT_AWS).into()),
    }
}

const NOT_AWS: &str = "the server that answers is not AWS: check AWS_ENDPOINT_URL, HTTPS_PROXY and the network";

fn server(aws: &Aws) -> String {
    aws.sts_endpoint.clone().unwrap_or_else(|| format!("AWS in {}", aws.region))
}

/// The variable that makes the SDK send calls to AWS through a proxy.
fn proxy() -> Option<&'static str> {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    names.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn unanswered(aws: &Aws, source: &CredentialSource, cause: &str) -> Trouble {
    let server = server(aws);
    match (&aws.sts_endpoint, proxy()) {
        (Some(_), _) => source.failed(
            format!("{server} cannot be reached: {cause}"),
            format!("start the server at {server}, or correct AWS_ENDPOINT_URL"),
        ),
        (None, Some(proxy)) => source.failed(
            format!("{server} cannot be reached by way of {proxy}: {cause}"),
            format!("check the network and {proxy}; --local needs neither network nor account"),
        ),
        (None, None) => source.failed(format!("{server} cannot be reached: {cause}"), REACH),
    }
}

fn explained(aws: &Aws, source: &CredentialSource, refusal: Refusal) -> Failure {
    if let Some(trouble) = Trouble::behind(&refusal) {
        return trouble.clone().into();
    }
    if let Some(status) = web_page(&refusal) {
        let cause = format!("a web page answers in place of {} (HTTP {status})", server(aws));
        let remedy = "log in to this network in a browser, or check HTTPS_PROXY and AWS_ENDPOINT_URL";
        return source.failed(cause, remedy).into();
    }
    let innermost = chain(&refusal).last().map_or_else(String::new, ToString::to_string);
    let is_success = refusal.raw_response().is_some_and(|response| response.status().is_success());
    match &refusal {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => unanswered(aws, source, &innermost).into(),
        SdkError::ConstructionFailure(_) => source.failed(innermost, NOT_AWS).into(),
        _ if is_success => source.failed(format!("{} answers unlike AWS: {innermost}", server(aws)), NOT_AWS).into(),
        _ => {
            let fault = Fault::from(refusal);
            match remedies::is_about_credentials(&fault) || fault.code.starts_with("AccessDenied") {
                true => refused(aws, source, &fault).into(),
                false => Failure::to(&format!("sign in with {}", source.name()), fault),
            }
        }
    }
}

fn refused(aws: &Aws, source: &CredentialSource, fault: &Fault) -> Trouble {
    let plain = source.refused(fault);
    let about_time = ["expired", "not yet current", "too skewed", "earlier than", "later than"];
    match &*fault.code {
        "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" | "AuthFailure"
            if about_time.iter().any(|sign| fault.message.contains(sign)) =>
        {
            let remedy = match skew(aws.began.get()) {
                Some(skew) => format!("this machine's clock is {skew}: set it (`timedatectl set-ntp true`)"),
                None => "set this machine's clock (`timedatectl set-ntp true`)".into(),
            };
            Trouble { remedy, ..plain }
        }
        "SignatureDoesNotMatch" => {
            let remedy = format!("the secret is not that of the key: {}", source.renew());
            Trouble { remedy, ..plain }
        }
        "InvalidClientTokenId" | "UnrecognizedClientException" if !ALWAYS_ON.contains(&aws.region.as_str()) => {
            let remedy = format!(
                "switch on the region {} in the account's settings, if it is off (regions like this one are at first; \
                 `aws account enable-region --region us-east-1 --region-name {}`); if it is on, {}",
                aws.region,
                aws.region,
                source.renew()
            );
            Trouble { remedy, ..plain }
        }
        _ => plain,
    }
}

/// How far our clock is off, if it is enough for AWS to reject requests (SigV4: five minutes).
fn skew(theirs: SystemTime) -> Option<String> {
    let ours = SystemTime::now();
    let minutes = |duration: Duration| duration.as_secs().div_ceil(60);
    match (ours.duration_since(theirs), theirs.duration_since(ours)) {
        (Ok(ahead), _) if minutes(ahead) > 4 => Some(format!("{} minutes fast", minutes(ahead))),
        (_, Ok(behind)) if minutes(behind) > 4 => Some(format!("{} minutes slow", minutes(behind))),
        _ => None,
    }
}

/// The status of an answer that is an HTML page.
fn web_page(refusal: &Refusal) -> Option<u16> {
    let response = refusal.raw_response()?;
    let is_html = response.headers().get("content-type").is_some_and(|kind| kind.contains("html"));
    let begins =
        response.body().bytes().map(|body| String::from_utf8_lossy(&body[..body.len().min(64)]).to_lowercase());
    let is_page =
        begins.is_some_and(|text| ["<!doctype html", "<html"].iter().any(|mark| text.trim_start().starts_with(mark)));
    (is_html || is_page).then(|| response.status().as_u16())
}
