//! The regions: the services of each, and those that they share.
//!
//! Roles, credentials and bucket names are global. Everything else exists once in each region, from the first call
//! signed for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::Value;
use time::Duration;
use tokio::sync::Mutex;

use chaos::Faults;
use compute::{Compute, Right};
use domains::acm::{self, Acm};
use domains::route53::Route53;
use domains::{Authority, Balancers};
use functions::lambda::{self, CodeObjects, Lambda};
use identity::credentials::{Access, session_arn, session_id, user_arn};
use identity::iam::Iam;
use identity::permissions::{Caller, Need};
use kit::ACCOUNT;
use kit::account::AccountKind;
use kit::answer::{Refusal, Response, not_implemented};
use kit::call::{Call, Request};
use kit::region_names::{GLOBAL, REGIONS};
use kit::speed::Speed;
use kit::store;
use logs::Logs;
use s3::{S3, Strangers};
use secrets::{Parameters, SecretsManager};
use tables::DynamoDb;

/// The services of one region.
pub(crate) struct Region {
    pub name: String,
    pub acm: Arc<Acm>,
    pub compute: Arc<Compute>,
    pub dynamodb: DynamoDb,
    pub lambda: Arc<Lambda>,
    pub logs: Arc<Logs>,
    pub s3: Arc<S3>,
    pub secrets: Arc<SecretsManager>,
    pub parameters: Arc<Parameters>,
    /// Shared with Certificate Manager and Route 53, which do not keep it alive.
    _balancers: Arc<BalancersOf>,
}

/// State shared by all regions.
pub(crate) struct Common {
    pub dir: PathBuf,
    pub endpoint: String,
    pub speed: Speed,
    pub account: AccountKind,
    pub access: Arc<Access>,
    pub iam: Arc<Iam>,
    pub faults: Arc<Faults>,
    pub strangers: Arc<Strangers>,
    pub route53: Arc<Route53>,
    pub authority: Arc<Authority>,
}

/// The regions in use.
pub(crate) struct Regions {
    common: Common,
    /// The first region that was used. Its state is directly in the directory.
    home: Arc<Region>,
    open: RwLock<BTreeMap<String, Arc<Region>>>,
    /// Held while a region is opened.
    opening: Mutex<()>,
    /// Held while a bucket is created, because its name must be unique across regions.
    naming: Mutex<()>,
}

impl Regions {
    /// Opens all regions that an earlier server used, or `first` if there are none.
    pub(crate) async fn open(common: Common, first: &str) -> anyhow::Result<Regions> {
        let home = home(&common.dir, first)?;
        let home = Arc::new(Region::open(&common, &home, &common.dir).await?);
        let open = RwLock::new(BTreeMap::from([(home.name.clone(), home.clone())]));
        let regions = Regions { common, home, open, opening: Mutex::default(), naming: Mutex::default() };
        for name in REGIONS {
            if regions.dir(name).is_dir() {
                regions.get(name).await?;
            }
        }
        Ok(regions)
    }

    /// Returns the region with this name, which must be one of [`REGIONS`], and opens it if necessary.
    pub(crate) async fn get(&self, name: &str) -> anyhow::Result<Arc<Region>> {
        if let Some(open) = self.find(name) {
            return Ok(open);
        }
        let _alone = self.opening.lock().await;
        if let Some(open) = self.find(name) {
            return Ok(open);
        }
        let region = Arc::new(Region::open(&self.common, name, &self.dir(name)).await?);
        self.open.write().insert(name.to_owned(), region.clone());
        Ok(region)
    }

    /// Returns the first region that was used.
    pub(crate) fn home(&self) -> &Arc<Region> {
        &self.home
    }

    /// Returns the regions in use.
    pub(crate) fn all(&self) -> Vec<Arc<Region>> {
        self.open.read().values().cloned().collect()
    }

    /// Returns the region of the bucket in a request, or the first region.
    pub(crate) fn of_bucket(&self, request: &Request) -> Arc<Region> {
        let found = match s3::target(request).0 {
            Some(bucket) if self.all().len() > 1 => self.owner(&bucket, None),
            _ => None,
        };
        found.unwrap_or_else(|| self.home.clone())
    }

    /// Answers a call to S3 in the region `here`.
    pub(crate) async fn answer_s3(
        &self,
        here: &Arc<Region>,
        call: &Call,
        request: &Request,
        caller: &Caller,
    ) -> Response {
        let _name = match call.operation.as_str() {
            "CreateBucket" => Some(self.naming.lock().await),
            _ => None,
        };
        match self.across(here, call, request, caller).await {
            Some(answer) => answer,
            None => here.s3.answer(&call.operation, request, caller).await,
        }
    }

    /// Answers a call that involves other regions; `None` if it does not.
    async fn across(&self, here: &Arc<Region>, call: &Call, request: &Request, caller: &Caller) -> Option<Response> {
        let all = self.all();
        if all.len() == 1 {
            return None;
        }
        if call.operation == "ListBuckets" {
            let stores: Vec<&S3> = all.iter().map(|region| &*region.s3).collect();
            return Some(s3::list_buckets(request, caller, &stores));
        }
        let bucket = s3::target(request).0?;
        if let Some(owner) = self.owner(&bucket, Some(here)) {
            return Some(match call.operation.as_str() {
                "CreateBucket" => {
                    let text = "Your previous request to create the named bucket succeeded and you already own it.";
                    here.s3.refuse(&Refusal::new(409, "BucketAlreadyOwnedByYou", text), request)
                }
                // Clients ask `us-east-1` for a bucket's region (S3 API reference, GetBucketLocation).
                "GetBucketLocation" if here.name == GLOBAL => {
                    let caller = Caller::owner(user_arn(), &owner.name);
                    owner.s3.answer(&call.operation, request, &caller).await
                }
                _ => s3::moved(&bucket, &owner.name, request),
            });
        }
        if call.operation == "CreateBucket" {
            let blocked = all.iter().find_map(|region| region.s3.refuse_blocked(&bucket).err());
            let refusal = blocked?;
            return Some(here.s3.refuse(&refusal, request));
        }
        let (source, ..) = s3::copied(request).ok()?;
        let is_elsewhere = self.owner(&source, Some(here)).is_some();
        is_elsewhere.then(|| not_implemented(call.protocol, "s3", &format!("{} from another region", call.operation)))
    }

    /// Returns the region, other than `here`, that has this bucket.
    fn owner(&self, bucket: &str, here: Option<&Arc<Region>>) -> Option<Arc<Region>> {
        let is_other = |region: &Region| here.is_none_or(|here| here.name != region.name);
        self.all().into_iter().find(|region| is_other(region) && region.s3.exists(bucket))
    }

    /// Stops everything that runs in all regions.
    pub(crate) async fn stop(&self) {
        let all = self.all();
        futures::future::join_all(all.iter().map(|region| async {
            region.acm.stop();
            region.compute.stop().await;
            region.lambda.stop().await;
        }))
        .await;
    }

    /// Returns the running resources, for `/_local/` pages and tests.
    pub(crate) fn status(&self) -> Value {
        let mut whole = self.home.status();
        for region in self.all().iter().filter(|region| region.name != self.home.name) {
            merge(&mut whole, region.status());
        }
        whole
    }

    /// Returns the region with this name, if it is in use.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Region>> {
        self.open.read().get(name).cloned()
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.common.dir.join("regions").join(name)
    }
}

impl Region {
    async fn open(common: &Common, name: &str, dir: &Path) -> anyhow::Result<Region> {
        let Common { endpoint, speed, account, access, iam, faults, strangers, route53, authority, dir: _ } = common;
        let state = dir.join("state");
        std::fs::create_dir_all(&state)?;
        let logs = Arc::new(Logs::open(&state, name)?);
        let lambda = Lambda::open(lambda::Context {
            dir,
            region: name,
            endpoint,
            access: access.clone(),
            iam: iam.clone(),
            logs: logs.clone(),
            account: *account,
            speed: *speed,
        })
        .await?;
        let s3 = S3::open(&state, name, lambda.clone(), iam.clone(), faults.clone(), strangers.clone())?;
        let s3 = Arc::new(s3);
        s3.grow_old();
        let objects: Arc<dyn CodeObjects> = s3.clone();
        lambda.connect(Arc::downgrade(&objects));
        let acm = Acm::open(&state, name, *speed, route53.clone(), authority.clone())?;
        let secrets = Arc::new(SecretsManager::open(&state, name, *speed)?);
        let parameters = Arc::new(Parameters::open(&state, name)?);
        let roles =
            RolesOf { region: name.to_owned(), access: access.clone(), iam: iam.clone(), secrets: secrets.clone() };
        let objects_of = Arc::new(ObjectsOf { s3: s3.clone(), iam: iam.clone(), region: name.to_owned() });
        let dynamodb = DynamoDb::open(&state, name, *speed).await?;
        let compute = Compute::start(compute::Context {
            dir: dir.join("compute"),
            region: name.to_owned(),
            account: ACCOUNT.to_owned(),
            kind: *account,
            endpoint: endpoint.clone(),
            objects: objects_of.clone(),
            deliveries: objects_of,
            logs: Arc::new(LogsOf(logs.clone())),
            values: Arc::new(ValuesOf { secrets: secrets.clone(), parameters: parameters.clone() }),
            roles: Arc::new(roles),
            certificates: Arc::new(CertificatesOf(acm.clone())),
            metrics: lambda.metrics(),
            chaos: faults.chaos(),
            speed: *speed,
        })
        .await?;
        let balancers: Arc<BalancersOf> = Arc::new(BalancersOf(Arc::downgrade(&compute)));
        acm.connect(Arc::downgrade(&balancers) as Weak<dyn acm::Users>);
        route53.connect(Arc::downgrade(&balancers) as Weak<dyn Balancers>);
        lambda.resume()?;
        // Nothing can fail any more: it would write to a directory whose server was not started.
        tokio::spawn(acm.clone().watch());
        Ok(Region {
            name: name.to_owned(),
            acm,
            _balancers: balancers,
            compute,
            dynamodb,
            lambda,
            logs,
            s3,
            secrets,
            parameters,
        })
    }

    fn status(&self) -> Value {
        let mut status = self.compute.status();
        status["functions"] = self.lambda.status();
        status
    }
}

/// Adds the lists and counts of a region's status to those of the others.
fn merge(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Array(whole), Value::Array(part)) => whole.extend(part),
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                match whole.get_mut(&name) {
                    Some(there) => merge(there, value),
                    None => drop(whole.insert(name, value)),
                }
            }
        }
        (whole, part) => {
            if let (Some(one), Some(other)) = (whole.as_u64(), part.as_u64()) {
                *whole = (one + other).into();
            }
        }
    }
}

/// Whether no local AWS has used this directory yet.
pub(crate) fn is_new(dir: &Path) -> bool {
    !dir.join(HOME).exists()
}

/// The file that names the region whose state is directly in the directory.
const HOME: &str = "state/region.json";

/// Returns the region whose state is directly in `dir`, and records it for a new directory: existing state belongs to
/// the region the directory was made for.
fn home(dir: &Path, first: &str) -> anyhow::Result<String> {
    let file = dir.join(HOME);
    if let Some(home) = store::read_json(&file)? {
        return Ok(home);
    }
    store::write_json(&file, &first)?;
    Ok(first.to_owned())
}

struct ObjectsOf {
    s3: Arc<S3>,
    iam: Arc<Iam>,
    region: String,
}

#[async_trait]
impl compute::Objects for ObjectsOf {
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        let found = self.s3.object(bucket, key, s3::IN_MEMORY).await;
        found.map_err(|refusal| format!("{}: {}", refusal.code, refusal.message))
    }

    async fn put(&self, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String> {
        let put = self.s3.put_for(&Caller::owner(String::new(), ""), bucket, key, bytes).await;
        put.map_err(|refusal| format!("{}: {}", refusal.code, refusal.message))
    }
}

#[async_trait]
impl compute::Deliveries for ObjectsOf {
    async fn deliver(&self, service: &str, source: &str, bucket: &str, key: &str, bytes: Bytes) -> Result<(), String> {
        let need = s3::object_need("PutObject", &s3::object_arn(bucket, key), None);
        match self.iam.resource_policies(&self.region).lets_service(service, source, &need) {
            true => compute::Objects::put(self, bucket, key, bytes).await,
            false => Err(format!("AccessDenied: the policy of {bucket} does not allow {service} to write {key}")),
        }
    }
}

/// The certificates of a region, for its load balancers.
struct CertificatesOf(Arc<Acm>);

impl compute::Certificates for CertificatesOf {
    fn certificate(&self, arn: &str) -> Option<compute::Certificate> {
        let acm::Served { names, issued } = self.0.served(arn)?;
        Some(compute::Certificate { names, issued })
    }
}

/// The load balancers of a region, for Certificate Manager and Route 53.
struct BalancersOf(Weak<Compute>);

impl acm::Users for BalancersOf {
    fn uses(&self) -> acm::Uses {
        self.0.upgrade().map(|compute| compute.certificate_uses()).unwrap_or_default()
    }
}

impl Balancers for BalancersOf {
    fn has(&self, hosted_zone: &str, dns_name: &str) -> bool {
        self.0.upgrade().is_some_and(|compute| compute.has_load_balancer(hosted_zone, dns_name))
    }
}

struct LogsOf(Arc<Logs>);

impl compute::LogStreams for LogsOf {
    fn call(&self, operation: &str, input: &Value) -> Result<Value, (String, String)> {
        self.0.call(operation, input).map_err(|refusal| (refusal.code, refusal.message))
    }
}

struct ValuesOf {
    secrets: Arc<SecretsManager>,
    parameters: Arc<Parameters>,
}

impl compute::Values for ValuesOf {
    fn call(&self, operation: &str, input: &Value) -> Result<Value, (String, String)> {
        let answer = match operation {
            "GetSecretValue" => self.secrets.call(operation, input),
            operation => self.parameters.call(operation, input),
        };
        answer.map_err(|refusal| (refusal.code, refusal.message))
    }
}

/// The lifetime of an instance's credentials.
const SESSION: Duration = Duration::hours(6);

struct RolesOf {
    region: String,
    access: Arc<Access>,
    iam: Arc<Iam>,
    secrets: Arc<SecretsManager>,
}

#[async_trait]
impl compute::Roles for RolesOf {
    async fn profile(&self, profile: &str) -> Option<compute::Profile> {
        let identity::iam::Profile { arn, id } = self.iam.profile(profile)?;
        Some(compute::Profile { arn, id })
    }

    async fn role_of_profile(&self, profile: &str) -> Option<String> {
        self.iam.role_of_profile(profile)
    }

    async fn may(&self, role: &str, session: &str, what: Right, within: &str, name: &str) -> Result<(), String> {
        let caller = self.iam.in_role(role, session_arn(role, session), session_id(session), &self.region);
        let [make_stream, put_events] = logs::to_write(&self.region, within, name);
        let need = match what {
            Right::Read => s3::object_need("GetObject", &s3::object_arn(within, name), None),
            Right::Write => s3::object_need("PutObject", &s3::object_arn(within, name), None),
            Right::List => Need::new("s3:ListBucket", s3::bucket_arn(within)),
            Right::MakeStream => make_stream,
            Right::PutEvents => put_events,
            Right::ReadSecret => {
                let arn = self.secrets.arn_of(name);
                Need::new("secretsmanager:GetSecretValue", arn.unwrap_or_else(|| name.to_owned()))
            }
            Right::ReadParameter => secrets::parameters::to_read(&self.region, name),
        };
        caller.may(&need).map_err(|denial| format!("AccessDenied: {}", denial.text()))
    }

    async fn may_all(&self, role: &str, session: &str, needs: Vec<Need>) -> Result<(), String> {
        let caller = self.iam.in_role(role, session_arn(role, session), session_id(session), &self.region);
        let denied = needs.iter().find_map(|need| caller.may(need).err());
        denied.map_or(Ok(()), |denial| Err(format!("AccessDenied: {}", denial.text())))
    }

    async fn credentials(&self, role: &str, session: &str) -> std::io::Result<compute::Credentials> {
        let issued = self.access.issue(role, session, self.access.life(SESSION))?;
        Ok(compute::Credentials {
            access_key_id: issued.access_key,
            secret_access_key: issued.secret_key,
            session_token: issued.token,
            expires: issued.expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_directory_belongs_to_the_region_it_was_made_for() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(home(dir.path(), "eu-west-1").unwrap(), "eu-west-1");
        assert_eq!(home(dir.path(), "us-east-1").unwrap(), "eu-west-1");
    }

    #[test]
    fn the_status_covers_all_regions() {
        let mut whole = json!({ "speed": "fast", "instances": [1], "functions": { "f": { "running": 1 } } });
        merge(&mut whole, json!({ "speed": "fast", "instances": [2], "functions": { "f": { "running": 2 }, "g": 1 } }));
        assert_eq!(
            whole,
            json!({ "speed": "fast", "instances": [1, 2], "functions": { "f": { "running": 3 }, "g": 1 } })
        );
    }
}
