//! Creates, describes, updates and deletes functions.

use std::collections::BTreeMap;
use std::sync::Weak;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::operation::function_name;
use super::settings::check_tags;
use super::{Function, Lambda, plain_name, shown, strings};
use crate::{parameter, states};
use kit::ACCOUNT;
use kit::answer::{Refusal, Response, empty};
use kit::call::{Asked, Need, Rest};
use kit::key::Key;

/// The maximum size of a zip in a call, in bytes (docs/aws.md §7.1).
const LARGEST_ZIP: usize = 50 << 20;

impl Lambda {
    pub(super) async fn create(&self, input: &Value) -> Result<Response, Refusal> {
        let name = input["FunctionName"].as_str().map(plain_name).unwrap_or_default();
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(letters) {
            return Err(Refusal::new(400, "ValidationException", "the function's name is not valid"));
        }
        if self.functions().contains_key(name) {
            return Err(exists(name));
        }
        let arn = format!("arn:aws:lambda:{}:{ACCOUNT}:function:{name}", self.region);
        let mut function = Function::new(name, arn);
        function.configure(input)?;
        function.tags = strings(&input["Tags"]);
        check_tags(&function.tags, &BTreeMap::new())?;
        self.check_role(&function.role)?;
        self.running.check_runtime(&function.runtime).await?;
        self.check_tracing(&function)?;
        self.check_key(input)?;
        self.place_code(&mut function, &input["Code"]).await?;
        function.touch();
        let published = (input["Publish"] == true).then(|| function.publish(None));
        let mut functions = self.functions();
        // It may have been created while the code was being unpacked.
        if functions.contains_key(name) {
            return Err(exists(name));
        }
        let before = functions.clone();
        functions.insert(name.to_owned(), function.clone());
        self.save(&mut functions, before)?;
        self.registry.states.created(name);
        let mut answer = self.show(&function);
        number(&mut answer, published);
        Ok(shown(201, &answer))
    }

    /// Checks that Lambda can assume the role: the first error caused by a new role (docs/aws.md §2.3).
    fn check_role(&self, role: &str) -> Result<(), Refusal> {
        if self.iam.trusts(role, "lambda.amazonaws.com") {
            return Ok(());
        }
        Err(parameter("The role defined for the function cannot be assumed by Lambda."))
    }

    /// The role of a traced function writes its traces.
    fn check_tracing(&self, function: &Function) -> Result<(), Refusal> {
        match self.running.denied_tracing(function) {
            true => {
                let text = "The provided execution role does not have permissions to call PutTraceSegments on XRAY";
                Err(parameter(text))
            }
            false => Ok(()),
        }
    }

    /// Checks the key of a call, if it names one.
    fn check_key(&self, input: &Value) -> Result<(), Refusal> {
        let Some(arn) = input["KMSKeyArn"].as_str().filter(|arn| !arn.is_empty()) else { return Ok(()) };
        if !arn.starts_with("arn:") {
            let text = format!(
                "1 validation error detected: Value '{arn}' at 'kMSKeyArn' failed to satisfy constraint: Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()"
            );
            return Err(Refusal::new(400, "ValidationException", text));
        }
        let unusable = |_| {
            parameter(&format!(
                "Lambda was unable to configure your environment variables because the KMS key is invalid for CreateGrant. KMS key: {arn}"
            ))
        };
        Key::find(arn, &self.region).map(drop).map_err(unusable)
    }

    /// The permissions on keys that a call needs, depending on what exists.
    pub fn key_needs(&self, asked: &Asked) -> Vec<Need> {
        let input = match asked.call.operation.as_str() {
            "CreateFunction" | "UpdateFunctionConfiguration" => asked.call.input.json().value(),
            _ => return Vec::new(),
        };
        let of_function = function_name(asked).and_then(|name| self.find(&name).ok()).and_then(|it| it.key);
        let (new, there) = (input["KMSKeyArn"].as_str().filter(|arn| !arn.is_empty()), of_function.as_deref());
        let grants = new.map(|arn| (arn, "CreateGrant"));
        let has_variables = input["Environment"]["Variables"].is_object();
        let encrypts = new.or(there).filter(|_| has_variables).map(|arn| (arn, "Encrypt"));
        let all = grants.into_iter().chain(encrypts);
        all.filter_map(|(arn, action)| Key::find(arn, &self.region).ok()?.need(action, "lambda", &self.region))
            .collect()
    }

    /// The permission to see the environment of a function with this key.
    pub fn need_to_see(&self, key: &str) -> Option<Need> {
        Key::find(key, &self.region).ok()?.need("Decrypt", "lambda", &self.region)
    }

    async fn place_code(&self, function: &mut Function, code: &Value) -> Result<(), Refusal> {
        let zip = self.code(code).await?;
        function.code_bytes = zip.len();
        function.code_sha256 = BASE64_STANDARD.encode(Sha256::digest(&zip));
        self.zips.keep(&function.code_sha256, &zip).map_err(|fault| {
            Refusal::new(500, "ServiceException", format!("the local AWS cannot keep the code: {fault}"))
        })?;
        self.running.unpack(function, zip).await.map_err(|text| parameter(&text))
    }

    async fn code(&self, code: &Value) -> Result<Bytes, Refusal> {
        if let Some(text) = code["ZipFile"].as_str() {
            let zip = BASE64_STANDARD.decode(text).map_err(|_| parameter("ZipFile is not base64"))?;
            if zip.len() > LARGEST_ZIP {
                let text = format!("Request must be smaller than {LARGEST_ZIP} bytes for the zip of a function");
                return Err(Refusal::new(413, "RequestEntityTooLargeException", text));
            }
            return Ok(Bytes::from(zip));
        }
        let (Some(bucket), Some(key)) = (code["S3Bucket"].as_str(), code["S3Key"].as_str()) else {
            return Err(parameter("Please provide a source for function code."));
        };
        let objects = self.objects.get().and_then(Weak::upgrade);
        let objects = objects.ok_or_else(|| Refusal::new(500, "ServiceException", "the server is stopping"))?;
        objects.code(bucket, key).await.map_err(|refusal| {
            let Refusal { code, message, status: _ } = refusal;
            parameter(&format!("Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"))
        })
    }

    pub(super) fn get(&self, name: &str) -> Result<Response, Refusal> {
        let function = self.find(name)?;
        let mut answer = json!({
            "Configuration": self.show(&function),
            "Code": { "RepositoryType": "S3", "Location": self.location(&function.code_sha256) },
        });
        if !function.tags.is_empty() {
            answer["Tags"] = json!(function.tags);
        }
        if let Some(reserved) = function.reserved {
            answer["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
        }
        Ok(shown(200, &answer))
    }

    pub(super) fn list(&self, rest: &Rest) -> Result<Response, Refusal> {
        let after = rest.parameter("Marker").unwrap_or_default();
        let limit = page_size(rest)?;
        let functions = self.functions();
        let mut found = functions.values().filter(|function| function.name.as_str() > after);
        let page: Vec<&Function> = found.by_ref().take(limit).collect();
        let mut answer = json!({ "Functions": page.iter().map(|function| self.show(function)).collect::<Vec<_>>() });
        if let (Some(last), Some(_)) = (page.last(), found.next()) {
            answer["NextMarker"] = json!(last.name);
        }
        Ok(shown(200, &answer))
    }

    pub(super) fn delete(&self, name: &str) -> Result<Response, Refusal> {
        let name = plain_name(name);
        let mut functions = self.functions();
        let before = functions.clone();
        functions.remove(name).ok_or_else(|| self.absent(name))?;
        self.save(&mut functions, before)?;
        drop(functions);
        self.registry.states.forget(name);
        self.running.forget(name);
        Ok(empty(204))
    }

    pub(super) async fn update_configuration(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let mut changed = self.find(name)?;
        self.registry.states.refuse_change(&changed)?;
        check_revision(&changed, input)?;
        changed.configure(input)?;
        if !input["Role"].is_null() {
            self.check_role(&changed.role)?;
        }
        if !input["Runtime"].is_null() {
            self.running.check_runtime(&changed.runtime).await?;
        }
        self.check_tracing(&changed)?;
        self.check_key(input)?;
        self.put(changed, false)
    }

    pub(super) async fn update_code(&self, name: &str, input: &Value) -> Result<Response, Refusal> {
        let mut changed = self.find(name)?;
        self.registry.states.refuse_change(&changed)?;
        check_revision(&changed, input)?;
        changed.configure(&json!({ "Architectures": input["Architectures"] }))?;
        self.place_code(&mut changed, input).await?;
        if input["DryRun"] == true {
            return Ok(shown(200, &self.show(&changed)));
        }
        self.put(changed, input["Publish"] == true)
    }

    /// Replaces a function, of which `changed` still has the revision ID that it was derived from. The warm processes belong to the previous revision, which answers until the update is done.
    fn put(&self, mut changed: Function, publishes: bool) -> Result<Response, Refusal> {
        let since = changed.revision.clone();
        changed.touch();
        let name = changed.name.clone();
        let mut functions = self.functions();
        let all_before = functions.clone();
        let before = functions.get(&name).cloned().ok_or_else(|| self.absent(&name))?;
        // Another update may have begun while the code of this one was being unpacked, and may already be done.
        self.registry.states.refuse_change(&before)?;
        if before.revision != since {
            return Err(states::is_changing(&before));
        }
        changed.keep_settings_of(&before);
        let published = publishes.then(|| changed.publish(None));
        functions.insert(name.clone(), changed.clone());
        self.save(&mut functions, all_before)?;
        self.registry.states.updated(before, &changed.revision);
        drop(functions);
        self.running.take_over(changed.clone(), self.registry.states.changing());
        let mut answer = self.show(&changed);
        number(&mut answer, published);
        Ok(shown(200, &answer))
    }

    /// Returns the `FunctionConfiguration`, with the function's state.
    pub(super) fn show(&self, function: &Function) -> Value {
        let mut shown = function.json();
        self.registry.states.show(&function.name, &mut shown);
        shown
    }
}

/// Returns the page size of `ListFunctions`: at most fifty, even if the call requests more.
pub(super) fn page_size(rest: &Rest) -> Result<usize, Refusal> {
    const MOST: usize = 50;
    let Some(asked) = rest.parameter("MaxItems") else { return Ok(MOST) };
    match asked.parse::<usize>() {
        Ok(size) if (1..=10_000).contains(&size) => Ok(size.min(MOST)),
        _ => {
            let text = format!(
                "1 validation error detected: Value '{asked}' at 'maxItems' failed to satisfy constraint: Member must have value between 1 and 10000"
            );
            Err(Refusal::new(400, "ValidationException", text))
        }
    }
}

/// If the call also published a version, puts that version's number and ARN into the response.
fn number(answer: &mut Value, published: Option<Value>) {
    if let Some(mut published) = published {
        answer["Version"] = published["Version"].take();
        answer["FunctionArn"] = published["FunctionArn"].take();
    }
}

pub(super) fn check_revision(function: &Function, input: &Value) -> Result<(), Refusal> {
    match input["RevisionId"].as_str() {
        Some(revision) if revision != function.revision => Err(Refusal::new(
            412,
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
        )),
        _ => Ok(()),
    }
}

fn exists(name: &str) -> Refusal {
    Refusal::new(409, "ResourceConflictException", format!("Function already exist: {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::super::CodeObjects;
    use crate::code::tests::zip;
    use identity::credentials::Access;
    use identity::iam::Iam;
    use kit::account::AccountKind;
    use kit::answer::Protocol;
    use kit::call::{Input, Request};
    use kit::speed::Speed;
    use logs::Logs;

    /// Code in S3. While it is read, something else happens.
    struct Meanwhile {
        lambda: Weak<Lambda>,
        happens: fn(&Lambda),
    }

    #[async_trait]
    impl CodeObjects for Meanwhile {
        async fn code(&self, _bucket: &str, _key: &str) -> Result<Bytes, Refusal> {
            (self.happens)(&self.lambda.upgrade().unwrap());
            Ok(zip("bootstrap").into())
        }

        fn has_bucket(&self, _bucket: &str) -> bool {
            false
        }

        fn needs_to_write(&self, _bucket: &str) -> Vec<Need> {
            Vec::new()
        }

        async fn put(&self, _bucket: &str, _key: &str, _bytes: Bytes) -> Result<(), Refusal> {
            Err(Refusal::new(404, "NoSuchBucket", "The specified bucket does not exist"))
        }
    }

    /// Returns the error code of an `UpdateFunctionCode` during whose reading of the code `happens` is called, if it
    /// failed, and the function after it.
    async fn updated_while(happens: fn(&Lambda)) -> (Option<String>, Function) {
        let dir = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::open(dir.path().join("keys.json"), Arc::default()).unwrap());
        let iam = Arc::new(Iam::open(dir.path(), Arc::default()).unwrap());
        let logs = Arc::new(Logs::open(dir.path(), "us-east-1").unwrap());
        std::fs::create_dir_all(dir.path().join("state")).unwrap();
        let lambda = Lambda::open(crate::lambda::Context {
            dir: dir.path(),
            region: "us-east-1",
            endpoint: "http://127.0.0.1:1",
            access,
            iam,
            logs,
            account: AccountKind::Standard,
            speed: Speed::FAST,
        });
        let lambda = lambda.await.unwrap();
        let (runtime, handler) = ("provided.al2023".to_owned(), "bootstrap".to_owned());
        let mut function = Function { runtime, handler, ..Function::new("labeler", "arn".to_owned()) };
        function.touch();
        lambda.functions().insert("labeler".to_owned(), function);
        let objects: Arc<dyn CodeObjects> = Arc::new(Meanwhile { lambda: Arc::downgrade(&lambda), happens });
        lambda.connect(Arc::downgrade(&objects));
        let answer = lambda.update_code("labeler", &json!({ "S3Bucket": "b", "S3Key": "k" })).await;
        let after = lambda.find("labeler").unwrap();
        lambda.stop().await;
        (answer.err().map(|refusal| refusal.code), after)
    }

    #[tokio::test]
    async fn settings_made_while_an_update_reads_its_code_are_kept() {
        let (refused, function) = updated_while(|lambda| {
            lambda.reserve("labeler", &json!({ "ReservedConcurrentExecutions": 0 })).unwrap();
            lambda.put_on_event("labeler", &json!({ "MaximumRetryAttempts": 1 })).unwrap();
            lambda.tag("labeler", &json!({ "Tags": { "team": "a" } })).unwrap();
        })
        .await;
        assert_eq!(refused, None);
        assert_eq!(function.code_sha256, BASE64_STANDARD.encode(Sha256::digest(zip("bootstrap"))));
        assert_eq!((function.reserved, function.on_event.and_then(|on_event| on_event.retries)), (Some(0), Some(1)));
        assert_eq!(function.tags["team"], "a");
    }

    #[tokio::test]
    async fn of_two_updates_at_the_same_time_one_is_refused() {
        let (refused, function) = updated_while(|lambda| {
            let mut functions = lambda.functions();
            let function = functions.get_mut("labeler").unwrap();
            function.configure(&json!({ "Timeout": 30 })).unwrap();
            function.touch();
        })
        .await;
        assert_eq!(refused.as_deref(), Some("ResourceConflictException"));
        assert_eq!((function.timeout_s, function.code_sha256.as_str()), (30, ""));
    }

    #[test]
    fn a_page_of_functions_has_fifty_at_most_and_one_at_least() {
        for (query, expected) in [
            ("", Some(50)),
            ("MaxItems=1", Some(1)),
            ("MaxItems=10000", Some(50)),
            ("MaxItems=0", None),
            ("MaxItems=10001", None),
            ("MaxItems=x", None),
        ] {
            let request = Request { query: query.to_owned(), ..Request::default() };
            let input = Input::of(Protocol::RestJson, &request);
            assert_eq!(page_size(input.rest()).ok(), expected, "{query}");
        }
    }
}
