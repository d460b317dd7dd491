//! Certificate Manager: public certificates, validated through DNS (docs/aws.md §22).

mod certificate;
mod request;
mod tags;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::authority::Algorithm;
use crate::clock::now_ms;
use crate::route53::Route53;
use crate::{Authority, clock};
use certificate::{Certificate, CertificateStatus};
use kit::ACCOUNT;
use kit::answer::{Protocol, Refusal, Response, json_answer};
use kit::call::Effect::{Reads, Writes};
use kit::call::{Asked, Call, Need, Needs, Operation, Pagination, Rows};
use kit::speed::Speed;
use kit::store;
use kit::{constraint, parameters};

/// The times of Certificate Manager in seconds, before scaling by the speed (docs/aws.md §22.2).
mod times {
    /// Until a certificate shows its domains, and until it shows their records.
    pub const DOMAINS_S: u64 = 3;
    pub const RECORDS_S: u64 = 8;
    /// How long a record must have been visible until the domain is validated.
    pub const VALIDATION_S: u64 = 120;
    /// How long validation is attempted.
    pub const PATIENCE_S: u64 = 72 * 3600;
    /// How long a request with the same token is the same request.
    pub const TOKEN_S: u64 = 3600;
    /// How long a certificate counts as in use after its last use.
    pub const LINGERING_S: u64 = 60;
}

/// The load balancers that use certificates: by certificate, the ARNs of the load balancers.
pub type Uses = BTreeMap<String, BTreeSet<String>>;

/// Finds the users of certificates.
pub trait Users: Send + Sync {
    /// Returns the load balancers of the region that use certificates.
    fn uses(&self) -> Uses;
}

/// A certificate, as a load balancer serves it.
#[derive(Debug, Clone)]
pub struct Served {
    /// The domain names in lower case, possibly with a wildcard.
    pub names: Vec<String>,
    /// The certificate and its chain in PEM, and the key in PEM; `None` if it has not been issued.
    pub issued: Option<(String, String)>,
}

/// Certificate Manager of a region.
///
/// Guarantees: acknowledged calls survive killing the server.
pub struct Acm {
    file: PathBuf,
    region: String,
    state: Mutex<State>,
    speed: Speed,
    route53: Arc<Route53>,
    authority: Arc<Authority>,
    users: RwLock<Option<Weak<dyn Users>>>,
    stop: CancellationToken,
}

/// The certificates by ARN.
type State = BTreeMap<String, Certificate>;

/// The context of handlers, besides the state.
struct Context<'a> {
    region: &'a str,
    speed: Speed,
    now_ms: i64,
}

type Answer = Result<Value, Refusal>;

/// The handler of an operation.
#[derive(Clone, Copy)]
enum Run {
    Look(fn(&State, &Context, &Value) -> Answer),
    Change(fn(&mut State, &Context, &Value) -> Answer),
}
use Run::{Change, Look};

const CERTIFICATE: Needs = Needs::On("{CertificateArn}");

/// A request has condition keys; tags need a permission of their own (docs/aws.md §22.4).
fn to_request(asked: &Asked) -> Vec<Need> {
    let arn = format!("arn:aws:acm:{}:{ACCOUNT}:certificate/*", asked.region);
    let input = asked.call.input.json().value();
    let text = |name: &str| input[name].as_str().map(str::to_owned);
    let mut need = asked.own(arn.as_str());
    need = need.knowing("acm:ValidationMethod", text("ValidationMethod"));
    need = need.knowing("acm:KeyAlgorithm", Some(text("KeyAlgorithm").unwrap_or_else(|| "RSA_2048".to_owned())));
    let others = input["SubjectAlternativeNames"].as_array().into_iter().flatten();
    for name in std::iter::once(&input["DomainName"]).chain(others) {
        need = need.knowing("acm:DomainNames", name.as_str().map(str::to_owned));
    }
    let tags = input["Tags"].as_array().into_iter().flatten();
    let tags: Vec<(&str, &str)> =
        tags.filter_map(|tag| Some((tag["Key"].as_str()?, tag["Value"].as_str().unwrap_or_default()))).collect();
    let tagged = |need: Need| {
        tags.iter()
            .fold(need, |need, (key, value)| need.knowing(format!("aws:RequestTag/{key}"), Some((*value).to_owned())))
    };
    let to_tag = (!tags.is_empty()).then(|| tagged(Need::new("acm:AddTagsToCertificate", arn.as_str())));
    std::iter::once(tagged(need)).chain(to_tag).collect()
}

const OPERATIONS: &[Operation<Run>] = &[
    Operation::new(
        "AddTagsToCertificate",
        Writes,
        CERTIFICATE,
        None,
        "CertificateArn Tags[].Key Tags[].Value",
        Change(tags::add),
    ),
    Operation::new("DeleteCertificate", Writes, CERTIFICATE, None, "CertificateArn", Change(delete)),
    Operation::new("DescribeCertificate", Reads, CERTIFICATE, None, "CertificateArn", Look(describe)),
    Operation::new("GetCertificate", Reads, CERTIFICATE, None, "CertificateArn", Look(get)),
    Operation::new(
        "ListCertificates",
        Reads,
        Needs::Own,
        Some(Pagination::Own("MaxItems")),
        "CertificateStatuses[] Includes.keyTypes[] MaxItems:integer NextToken SortBy=CREATED_AT SortOrder=ASCENDING|DESCENDING",
        Look(list),
    ),
    Operation::new("ListTagsForCertificate", Reads, CERTIFICATE, None, "CertificateArn", Look(tags::list)),
    Operation::new(
        "RemoveTagsFromCertificate",
        Writes,
        CERTIFICATE,
        None,
        "CertificateArn Tags[].Key Tags[].Value",
        Change(tags::remove),
    ),
    Operation::new(
        "RequestCertificate",
        Writes,
        Needs::Of(to_request),
        None,
        "CertificateUsage=CLIENT_AND_SERVER_AUTH DomainName DomainValidationOptions[].DomainName \
         DomainValidationOptions[].ValidationDomain IdempotencyToken KeyAlgorithm \
         Options.CertificateTransparencyLoggingPreference=ENABLED|DISABLED Options.Export=DISABLED SubjectAlternativeNames[] \
         Tags[].Key Tags[].Value ValidationMethod=DNS",
        Change(request::request),
    ),
];

/// Returns the operations.
pub fn rows() -> Rows {
    Operation::rows(OPERATIONS)
}

impl Acm {
    /// Reads the certificates in a directory. They are validated by [`Acm::watch`].
    pub fn open(
        dir: &Path,
        region: &str,
        speed: Speed,
        route53: Arc<Route53>,
        authority: Arc<Authority>,
    ) -> anyhow::Result<Arc<Acm>> {
        let file = dir.join("certificates.json");
        let state = Mutex::new(store::read_json(&file)?.unwrap_or_default());
        let (users, stop) = (RwLock::new(None), CancellationToken::new());
        Ok(Arc::new(Acm { file, region: region.to_owned(), state, speed, route53, authority, users, stop }))
    }

    /// Sets the load balancers that use the certificates.
    pub fn connect(&self, users: Weak<dyn Users>) {
        *self.users.write() = Some(users);
    }

    /// Stops validating.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns a certificate, if it exists.
    pub fn served(&self, arn: &str) -> Option<Served> {
        let state = self.state.lock();
        let certificate = state.get(arn)?;
        let issued = certificate.issued.as_ref().filter(|_| certificate.status(now_ms()) == CertificateStatus::Issued);
        let issued =
            issued.map(|issued| (format!("{}{}", issued.pem.certificate, issued.pem.chain), issued.pem.key.clone()));
        Some(Served { names: certificate.names.clone(), issued })
    }

    /// Returns the tags of a certificate.
    pub fn tags_of(&self, arn: &str) -> BTreeMap<String, String> {
        self.state.lock().get(arn).map(|certificate| certificate.tags.clone()).unwrap_or_default()
    }

    /// Answers a call; `None` if there is no such operation.
    pub fn answer(&self, call: &Call) -> Option<Response> {
        let operation = Operation::find(OPERATIONS, &call.operation)?;
        let input = parameters::document(operation.parameters, call.input.json());
        Some(match input.and_then(|input| self.act(operation, input)) {
            Ok(Value::Null) => json_answer(200, Protocol::Json11, &json!({})),
            Ok(answer) => json_answer(200, Protocol::Json11, &answer),
            Err(refusal) => refusal.answer(Protocol::Json11),
        })
    }

    fn act(&self, operation: &Operation<Run>, input: &Value) -> Answer {
        self.note_uses();
        let context = Context { region: &self.region, speed: self.speed, now_ms: now_ms() };
        match operation.run {
            Look(look) => look(&self.state.lock(), &context, input),
            Change(change) => self.change(|state| change(state, &context, input)),
        }
    }

    /// Changes the state; a change that cannot be written has no effect.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        let result = change(&mut next)?;
        store::write_json(&self.file, &next).map_err(|fault| {
            tracing::error!("the certificates could not be written: {fault}");
            Refusal::new(500, "InternalFailure", format!("the local AWS cannot write its certificates: {fault}"))
        })?;
        *state = next;
        Ok(result)
    }

    /// Records which load balancers use the certificates now.
    ///
    /// Asks before it locks the state, because load balancers look at certificates while their own state is locked.
    fn note_uses(&self) {
        let users = self.users.read().as_ref().and_then(Weak::upgrade);
        let Some(uses) = users.map(|users| users.uses()) else { return };
        let now_ms = now_ms();
        let lingering = self.speed.takes(times::LINGERING_S);
        for (arn, certificate) in self.state.lock().iter_mut() {
            for user in uses.get(arn).into_iter().flatten() {
                certificate.users.insert(user.clone(), now_ms);
            }
            certificate.users.retain(|_, last_ms| clock::after(*last_ms, lingering) >= now_ms);
        }
    }
}

fn find<'a>(state: &'a State, input: &Value) -> Result<(&'a str, &'a Certificate), Refusal> {
    let arn = checked_arn(input)?;
    let found = state.get_key_value(arn).map(|(arn, certificate)| (arn.as_str(), certificate));
    found.ok_or_else(|| no_certificate(arn))
}

fn find_mut<'a>(state: &'a mut State, input: &Value) -> Result<&'a mut Certificate, Refusal> {
    let arn = checked_arn(input)?;
    state.get_mut(arn).ok_or_else(|| no_certificate(arn))
}

fn no_certificate(arn: &str) -> Refusal {
    let text = format!("Could not find certificate {arn} in account {ACCOUNT}.");
    Refusal::new(400, "ResourceNotFoundException", text)
}

/// Returns the ARN of a certificate in a call.
fn checked_arn(input: &Value) -> Result<&str, Refusal> {
    let arn = input["CertificateArn"].as_str().unwrap_or_default();
    if arn.len() < 20 {
        let text = format!(
            "1 validation error detected: Value '{arn}' at 'certificateArn' failed to satisfy constraint: Member must have length greater than or equal to 20"
        );
        return Err(Refusal::new(400, "ValidationException", text));
    }
    match arn.starts_with("arn:") && arn.contains(":acm:") && arn.contains(":certificate/") {
        true => Ok(arn),
        false => Err(Refusal::new(400, "InvalidArnException", format!("Invalid ARN: {arn}"))),
    }
}

fn describe(state: &State, context: &Context, input: &Value) -> Answer {
    let (arn, certificate) = find(state, input)?;
    Ok(json!({ "Certificate": certificate.described(arn, context) }))
}

fn get(state: &State, context: &Context, input: &Value) -> Answer {
    let (arn, certificate) = find(state, input)?;
    match (&certificate.issued, certificate.status(context.now_ms)) {
        (Some(issued), _) => Ok(json!({ "Certificate": issued.pem.certificate, "CertificateChain": issued.pem.chain })),
        (None, CertificateStatus::PendingValidation) => {
            let text = format!("Certificate {arn} is not yet available: the request is in progress");
            Err(Refusal::new(400, "RequestInProgressException", text))
        }
        (None, _) => Err(no_certificate(arn)),
    }
}

fn delete(state: &mut State, _context: &Context, input: &Value) -> Answer {
    let (arn, certificate) = find(state, input)?;
    if !certificate.users.is_empty() {
        let text = format!("Certificate {arn} is in use.");
        return Err(Refusal::new(400, "ResourceInUseException", text));
    }
    let arn = arn.to_owned();
    state.remove(&arn);
    Ok(Value::Null)
}

/// Without a filter by key types, only RSA keys of up to 2048 bits are listed (docs/aws.md §22.1).
fn list(state: &State, context: &Context, input: &Value) -> Answer {
    let texts = |list: &'_ Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (statuses, kinds) = (texts(&input["CertificateStatuses"]), texts(&input["Includes"]["keyTypes"]));
    const KINDS: &[&str] =
        &["RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"];
    const STATUSES: &[&str] =
        &["PENDING_VALIDATION", "ISSUED", "INACTIVE", "EXPIRED", "VALIDATION_TIMED_OUT", "REVOKED", "FAILED"];
    let invalid = |text: String| Refusal::new(400, "ValidationException", text);
    for (member, texts, known) in [("includes.keyTypes", &kinds, KINDS), ("certificateStatuses", &statuses, STATUSES)] {
        texts.iter().try_for_each(|text| constraint::one_of(member, text, known)).map_err(invalid)?;
    }
    let size = input["MaxItems"].as_i64().unwrap_or(1000);
    constraint::within("maxItems", size, 1..=1000).map_err(invalid)?;
    let size = size as usize;
    let start = match input["NextToken"].as_str() {
        None => 0,
        Some(token) => {
            token.parse::<usize>().map_err(|_| Refusal::new(400, "InvalidArgsException", "The NextToken is invalid"))?
        }
    };
    if input["SortBy"].is_null() != input["SortOrder"].is_null() {
        return Err(Refusal::new(400, "InvalidArgsException", "SortBy and SortOrder must be specified together"));
    }
    let is_asked = |certificate: &&Certificate| {
        let status = certificate.status(context.now_ms).name();
        let kind = certificate.algorithm_names().0;
        let by_kind = match kinds.is_empty() {
            true => certificate.algorithm == Algorithm::Rsa2048,
            false => kinds.iter().any(|known| known == kind),
        };
        by_kind && (statuses.is_empty() || statuses.iter().any(|known| known == status))
    };
    let mut found: Vec<(&String, &Certificate)> =
        state.iter().filter(|(_, certificate)| is_asked(certificate)).collect();
    found.sort_by_key(|(arn, certificate)| (certificate.created_ms, *arn));
    if input["SortOrder"] == "DESCENDING" {
        found.reverse();
    }
    let page = found.iter().skip(start).take(size);
    let page: Vec<Value> = page.map(|(arn, certificate)| certificate.summary(arn, context)).collect();
    let end = start.saturating_add(page.len());
    let mut answer = json!({ "CertificateSummaryList": page });
    if end < found.len() {
        answer["NextToken"] = json!(end.to_string());
    }
    Ok(answer)
}
