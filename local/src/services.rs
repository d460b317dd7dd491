//! All services of the local AWS, and the dispatch of calls to them.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use crate::regions::{self, Common, Region, Regions};
use crate::{Conditions, Options, intake};
use chaos::{Act, ChaosKind, Fate, Faults};
use compute::Compute;
use compute::{cloudwatch, service_quotas, waf};
use domains::Authority;
use domains::route53::Route53;
use functions::lambda::Lambda;
use identity::credentials::{Access, Identity, user_arn};
use identity::iam::Iam;
use identity::permissions::{Caller, Denial};
use identity::signature;
use identity::sts;
use kit::account::AccountKind;
use kit::answer::{self, Refusal, Reply, Response, not_implemented};
use kit::call::{self, Asked, Call, Need, Request};
use kit::journal::Journal;
use kit::pages;
use kit::region_names::{GLOBAL, REGIONS};
use kit::{ACCESS_KEY, ACCOUNT};
use s3::{Incoming, Spool, Strangers};

/// The services, and the checks that all calls pass.
pub(crate) struct Services {
    pub journal: Journal,
    pub account: AccountKind,
    pub faults: Arc<Faults>,
    pub strangers: Arc<Strangers>,
    pub route53: Arc<Route53>,
    pub authority: Arc<Authority>,
    access: Arc<Access>,
    iam: Arc<Iam>,
    regions: Regions,
    spool: Spool,
}

impl Services {
    /// Reads the state below `options.dir`. `endpoint` is the URL of this server for instances and functions.
    pub(crate) async fn open(options: &Options, conditions: Conditions, endpoint: &str) -> anyhow::Result<Services> {
        let Options { dir, region, port: _ } = options;
        let Conditions { chaos, speed, account } = conditions;
        let faults = Arc::new(Faults::new(chaos));
        let state = dir.join("state");
        std::fs::create_dir_all(&state)?;
        let account = AccountKind::of(&state, regions::is_new(dir), account)?;
        let access = Arc::new(Access::of_account(state.join("credentials.json"), faults.clone(), account)?);
        let iam = Arc::new(Iam::of_account(&state, faults.clone(), account)?);
        let strangers = Arc::new(Strangers::open(&state)?);
        let spool = Spool::open(&state)?;
        let route53 = Arc::new(Route53::open(&state, speed, faults.clone())?);
        let authority = Arc::new(Authority::open(dir)?);
        let common = Common {
            dir: dir.clone(),
            endpoint: endpoint.to_owned(),
            speed,
            account,
            access: access.clone(),
            iam: iam.clone(),
            faults: faults.clone(),
            strangers: strangers.clone(),
            route53: route53.clone(),
            authority: authority.clone(),
        };
        let regions = Regions::open(common, region).await?;
        let journal = Journal::default();
        Ok(Services { journal, account, faults, strangers, route53, authority, access, iam, regions, spool })
    }

    /// Refuses a request whose head shows that its body of `length` bytes need not be read. Returns where to store the
    /// body if it is an upload.
    pub(crate) fn admit(&self, call: &Call, head: &Request, length: u64) -> Result<Option<Incoming>, Refusal> {
        // A form's policy is in its body.
        if intake::is_post_form(head, call) {
            return Ok(None);
        }
        let region = self.regions.of_bucket(head);
        let payload = signature::check_head(head, call, &self.access, &region.name, self.now())?;
        self.spool.receive(call, head, length, payload)
    }

    /// Returns the error for a request whose body was not read, and records it in the journal.
    pub(crate) async fn turn_away(&self, refusal: &Refusal, call: &Call, head: &Request) -> Response {
        let answer = self.refuse(refusal, call, head).await;
        self.journal.note(call, answer.status().as_u16(), None, None);
        answer
    }

    /// Chooses the faults to inject into a call.
    pub(crate) fn judge(&self, call: &Call, request: &Request) -> Fate {
        self.faults.judge(call, &self.caller(request), request)
    }

    /// Returns the instances and load balancers of the first region.
    pub(crate) fn compute(&self) -> Arc<Compute> {
        self.regions.home().compute.clone()
    }

    /// Answers a request, with injected faults, and records it in the journal.
    pub(crate) async fn answer(&self, call: &Call, request: &Request) -> Reply {
        let fate = self.judge(call, request);
        if !fate.latency.is_zero() {
            tokio::time::sleep(fate.latency).await;
        }
        let fault = fate.act.as_ref().map(Act::name);
        let reply = self.meet(fate.act, call, request).await;
        let denied = reply.denied();
        if let Some(denied) = &denied {
            tracing::info!("{denied}");
        }
        self.journal.note(call, reply.status(), fault, denied);
        tracing::debug!(service = call.service, operation = call.operation, status = reply.status(), fault);
        reply
    }

    /// Carries out a call, with the effect and the response that `act` determines.
    async fn meet(&self, act: Option<Act>, call: &Call, request: &Request) -> Reply {
        let effect = || self.dispatch(call, request);
        match act {
            None => Reply::Whole(effect().await),
            Some(Act::Refuse(refusal)) => Reply::Whole(self.refuse(&refusal, call, request).await),
            Some(Act::RefuseAfter(refusal)) => {
                effect().await;
                Reply::Whole(self.refuse(&refusal, call, request).await)
            }
            Some(Act::ResetBefore) => Reply::Nothing,
            Some(Act::ResetAfter) => {
                effect().await;
                Reply::Nothing
            }
            Some(Act::Truncate) => match effect().await {
                // An empty body has no half to send.
                answer if answer::length(&answer) == 0 => Reply::Nothing,
                answer => Reply::Half(answer),
            },
            Some(Act::HoldBefore(released)) => match self.faults.hold(&released).await {
                true => Reply::Whole(effect().await),
                false => Reply::Nothing,
            },
            Some(Act::HoldAfter(released)) => {
                let answer = effect().await;
                match self.faults.hold(&released).await {
                    true => Reply::Whole(answer),
                    false => Reply::Nothing,
                }
            }
        }
    }

    /// Returns the claimed caller: the role of temporary credentials, `account`, or an empty string.
    fn caller(&self, request: &Request) -> String {
        let identity = call::claimed_key(request).and_then(|key| self.access.identity(&key));
        match &identity {
            Some(identity) => identity.role().unwrap_or("account").to_owned(),
            None => String::new(),
        }
    }

    /// Returns AWS's current time, which differs from this machine's under clock skew.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let skew = if self.faults.has(ChaosKind::ClockSkew) { SKEW } else { Duration::ZERO };
        OffsetDateTime::now_utc() + skew
    }

    /// Stops everything that runs. There is nothing to write, because everything acknowledged is on disk.
    pub(crate) async fn stop(&self) {
        self.faults.close();
        self.regions.stop().await;
    }

    /// Closes the tables. Must be called last, because everything else may write to them while it stops.
    pub(crate) async fn close(&self) {
        for region in self.regions.all() {
            region.dynamodb.close().await;
        }
    }

    /// Returns the running resources, for `/_local/` pages and tests.
    pub(crate) fn status(&self) -> serde_json::Value {
        self.regions.status()
    }

    async fn dispatch(&self, call: &Call, request: &Request) -> Response {
        // Browsers send a preflight without a signature.
        if call.operation == "Preflight" {
            let region = self.regions.of_bucket(request);
            let owner = Caller::owner(user_arn(), &region.name);
            return region.s3.answer(&call.operation, request, &owner).await;
        }
        // The signed URL is sufficient proof, as for every presigned request.
        if let Some(answer) = self.regions.all().iter().find_map(|region| region.lambda.download(request)) {
            return answer;
        }
        if call.operation == "PostObject" && call.service == "s3" {
            return self.post(call, request).await;
        }
        match signature::verify(request, call, &self.access, &self.regions.of_bucket(request).name, self.now()) {
            Ok(caller) => self.answer_known(call, request, &caller).await,
            Err(refusal) => self.refuse(&refusal, call, request).await,
        }
    }

    /// Handles an upload by a browser's form, which contains its signature and how to respond.
    async fn post(&self, call: &Call, request: &Request) -> Response {
        let region = self.regions.of_bucket(request);
        let read = s3::form::PostForm::read(request).and_then(|form| {
            let field = |name: &str| form.field(name).map(str::to_owned);
            let identity = signature::verify_form(&field, call, &self.access, &region.name, self.now())?;
            form.check_policy(self.now())?;
            Ok((form, identity))
        });
        match read {
            Ok((form, identity)) => form.answered(self.answer_known(call, &form.upload(request), &identity).await),
            Err(refusal) => self.refuse(&refusal, call, request).await,
        }
    }

    /// Returns two responses: to the request as it is, and as if the account's owner had signed it.
    pub(crate) async fn answer_unproven(&self, call: &Call, request: &Request) -> [Response; 2] {
        let owner = self.access.identity(ACCESS_KEY).expect("the owner's key is always known");
        // Permissions are only computed for roles, so compute them for one that does not exist.
        let denied = self.check(call, request, &self.iam.in_role("r", user_arn(), String::new(), GLOBAL), GLOBAL);
        tracing::trace!(?denied);
        [self.dispatch(call, request).await, self.answer_known(call, request, &owner).await]
    }

    async fn refuse(&self, refusal: &Refusal, call: &Call, request: &Request) -> Response {
        match call.service.as_str() {
            "s3" => self.regions.of_bucket(request).s3.refuse(refusal, request),
            _ => refusal.answer(call.protocol),
        }
    }

    /// The permissions that roles have used, for `/_local/` pages and tests.
    pub(crate) fn used_permissions(&self) -> serde_json::Value {
        serde_json::json!(self.iam.used.all())
    }

    /// Checks that the caller has all permissions that the call needs in a region.
    fn check(&self, call: &Call, request: &Request, caller: &Caller, region: &str) -> Result<(), Denial> {
        if caller.may_everything() {
            return Ok(());
        }
        let here = self.regions.find(region);
        let entity_arn = |kind: &str, name: &str| match kind {
            "secret" => here.as_ref()?.secrets.arn_of(name),
            "route-table-association" => {
                let table = here.as_ref()?.compute.route_table_of(name)?;
                Some(format!("arn:aws:ec2:{region}:{ACCOUNT}:route-table/{table}"))
            }
            "elastic-ip-association" => {
                let allocation = here.as_ref()?.compute.address_of(name)?;
                Some(format!("arn:aws:ec2:{region}:{ACCOUNT}:elastic-ip/{allocation}"))
            }
            "elastic-ip-interface" => {
                let interface = here.as_ref()?.compute.interface_with_address(name)?;
                Some(format!("arn:aws:ec2:{region}:{ACCOUNT}:network-interface/{interface}"))
            }
            waf::OF_LOAD_BALANCER => here.as_ref()?.compute.web_acl_of(name),
            kind => self.iam.entity_arn(kind, name),
        };
        let asked = Asked { call, request, region, entity_arn: &entity_arn };
        let mut needs = asked.needs();
        if call.service == "s3" {
            needs.extend(self.regions.of_bucket(request).s3.key_needs(&asked));
        }
        if let Some(region) = here.as_ref().filter(|_| call.service == "dynamodb") {
            needs.extend(region.dynamodb.key_needs(call, &needs));
        }
        if let Some(region) = here.as_ref().filter(|_| call.service == "lambda") {
            needs.extend(region.lambda.key_needs(&asked));
        }
        if let Some(region) = &here {
            let role_of = |profile: &str| self.iam.role_arn(&self.iam.role_of_profile(profile)?);
            needs.extend(region.compute.launch_needs(&asked, &role_of));
        }
        needs.into_iter().try_for_each(|need| caller.may(&self.with_tags(need, region)))
    }

    /// Adds the tags of the resource, for conditions on them. Those of EC2, Certificate Manager, Secrets Manager and
    /// Systems Manager are known.
    fn with_tags(&self, need: Need, region: &str) -> Need {
        let Some(region) = self.regions.find(region) else { return need };
        let tags = match need.resource.split(':').nth(2) {
            Some("acm") => region.acm.tags_of(&need.resource),
            Some("ec2") => region.compute.tags_of(need.resource.rsplit('/').next().unwrap_or_default()),
            Some("secretsmanager") => region.secrets.tags_of(&need.resource),
            Some("ssm") => region.parameters.tags_of(&need.resource),
            _ => return need,
        };
        let need = Need { has_tags: true, ..need };
        tags.into_iter().fold(need, |need, (key, value)| need.knowing(format!("aws:ResourceTag/{key}"), Some(value)))
    }

    /// Answers a call in the region it is signed for.
    async fn answer_known(&self, call: &Call, request: &Request, identity: &Identity) -> Response {
        let region = call::claimed_region(request).filter(|region| REGIONS.contains(&region.as_str()));
        // Forms and Signature Version 2 do not contain a region; then it is the bucket's.
        let region = region.unwrap_or_else(|| match call.service.as_str() {
            "s3" => self.regions.of_bucket(request).name.clone(),
            _ => GLOBAL.to_owned(),
        });
        let region = match self.regions.get(&region).await {
            Ok(region) => region,
            Err(fault) => {
                tracing::error!("the region {region} cannot be opened: {fault:#}");
                let text = format!("the local AWS cannot open the region {region}: {fault:#}");
                return Refusal::new(500, "InternalFailure", text).answer(call.protocol);
            }
        };
        let caller = self.iam.caller(identity, &region.name);
        if let Err(denial) = self.check(call, request, &caller, &region.name) {
            let mut answer = self.refuse(&denial.refusal(call), call, request).await;
            denial.mark(&mut answer);
            return answer;
        }
        let short = self.faults.has(ChaosKind::ShortPages);
        let shortened = if short { pages::shorten(call, request) } else { None };
        let (call, request) = shortened.as_ref().map_or((call, request), |(call, request)| (call, request));
        pages::cut(call, self.answer_whole(call, request, identity, &caller, &region).await, short)
    }

    async fn answer_whole(
        &self,
        call: &Call,
        request: &Request,
        identity: &Identity,
        caller: &Caller,
        region: &Arc<Region>,
    ) -> Response {
        let answer = match call.service.as_str() {
            // S3 has its own errors for unknown operations.
            "s3" => return self.regions.answer_s3(region, call, request, caller).await,
            "dynamodb" => region.dynamodb.answer(call, request).await,
            "acm" => region.acm.answer(call),
            "iam" => self.iam.answer(call).await,
            "route53" => self.route53.answer(call, request),
            "sts" => {
                let desk = sts::Desk { access: &self.access, iam: &self.iam, caller: identity, region: &region.name };
                sts::answer(call, &desk)
            }
            "lambda" => {
                let answer = region.lambda.answer(call, request).await;
                answer.map(|answer| {
                    let answer = without_hidden_tags(call, answer, caller);
                    without_hidden_environment(answer, caller, &region.lambda)
                })
            }
            "logs" => region.logs.answer(call),
            "monitoring" => cloudwatch::answer(call, &region.compute),
            "secretsmanager" => region.secrets.answer(call),
            "servicequotas" => service_quotas::answer(call, &region.compute),
            "ssm" => region.parameters.answer(call),
            "wafv2" => waf::answer(call, &region.compute),
            "rekognition" => rekognition::answer(call, &region.s3, caller).await,
            "ec2" | "autoscaling" | "elasticloadbalancing" => {
                region.compute.handle(&call.service, call.input.form()).await
            }
            _ => None,
        };
        answer.unwrap_or_else(|| not_implemented(call.protocol, &call.service, &call.operation))
    }
}

/// Removes a function's tags from the answer of `GetFunction` unless the caller may list them (docs/aws.md §7.1).
fn without_hidden_tags(call: &Call, answer: Response, caller: &Caller) -> Response {
    if call.operation != "GetFunction" || !answer.status().is_success() || caller.may_everything() {
        return answer;
    }
    let Ok(mut function) = serde_json::from_slice::<serde_json::Value>(answer.body()) else { return answer };
    let arn = function["Configuration"]["FunctionArn"].as_str().unwrap_or("*");
    if caller.may(&Need::new("lambda:ListTags", arn)).is_ok() {
        return answer;
    }
    if let Some(fields) = function.as_object_mut() {
        fields.remove("Tags");
    }
    let (head, _) = answer.into_parts();
    Response::from_parts(head, function.to_string().into())
}

/// Replaces the environment of a function by an error, unless the caller may use the key that it is encrypted with
/// (docs/aws.md §7.1).
fn without_hidden_environment(answer: Response, caller: &Caller, lambda: &Lambda) -> Response {
    if !answer.status().is_success() || caller.may_everything() {
        return answer;
    }
    let Ok(mut document) = serde_json::from_slice::<serde_json::Value>(answer.body()) else { return answer };
    let mut hidden = false;
    let mut open = vec![&mut document];
    while let Some(part) = open.pop() {
        let denial = part["KMSKeyArn"].as_str().and_then(|key| caller.may(&lambda.need_to_see(key)?).err());
        if let Some(denial) = denial.filter(|_| part["Environment"].is_object()) {
            let error = serde_json::json!({ "ErrorCode": "AccessDeniedException", "Message": denial.text() });
            part["Environment"] = serde_json::json!({ "Error": error });
            hidden = true;
        }
        match part {
            // A configuration may be the answer, or in it.
            serde_json::Value::Object(members) => {
                let below = members.iter_mut().filter(|(name, _)| BELOW.contains(&name.as_str()));
                open.extend(below.map(|(_, value)| value));
            }
            serde_json::Value::Array(items) => open.extend(items),
            _ => (),
        }
    }
    if !hidden {
        return answer;
    }
    let (head, _) = answer.into_parts();
    Response::from_parts(head, document.to_string().into())
}

/// The members of answers that hold configurations of functions.
const BELOW: &[&str] = &["Configuration", "Functions", "Versions"];

/// How far this server's clock is ahead under `clock-skew`: more than the tolerance of signatures.
const SKEW: Duration = Duration::minutes(20);

#[cfg(test)]
mod tests;
