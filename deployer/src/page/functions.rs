//! Functions, with their roles and the permission to invoke them.

use std::collections::BTreeMap;

use super::{Layout, policy};
use crate::{
    config::{self},
    engine::{Handle, Joined, Wire},
    kinds::{
        bucket::{self, Bucket},
        function::{self, Function},
        log_group::{self, LogGroup},
        origin::Origin,
        permissions::{self, Permissions, Statement},
        role::{self, Role},
    },
};

impl Layout<'_> {
    pub(super) fn function(&mut self, entry: &str, wanted: &config::Function) -> Handle<Function> {
        self.stack.section(format!("functions.{entry}"));
        let group = LogGroup { name: self.names.log_group(entry) };
        let arn = self.log_group_arn(&group.name);
        let retention_days = wanted.log_retention_days.map(Into::into);
        let key = wanted.log_key.as_ref().map(ToString::to_string);
        let settings = move |()| log_group::Settings { retention_days, key: key.clone() };
        let logs = self.stack.add(entry, group, (), settings);
        let role = self.function_role(entry, wanted, arn);
        let mut environment = self.environment(&wanted.variables.texts);
        if !wanted.variables.stored.is_empty() {
            let references = config::references(&wanted.variables.stored, &self.later.versions);
            environment.insert(config::REFERENCES.into(), Joined(vec![Wire::literal(references)]));
        }
        let program = self.programs.function(entry);
        let (runtime, handler) = match &wanted.program {
            config::Program::Managed(managed) => (managed.runtime.to_string(), managed.handler.to_string()),
            config::Program::Package(_) | config::Program::Binary(_) | config::Program::Files(_) => {
                ("provided.al2023".into(), "bootstrap".into())
            }
        };
        let basis = function::Settings {
            code_sha256: program.sha256,
            zip: program.zip,
            runtime,
            handler,
            architecture: wanted.architecture.name().into(),
            memory_mb: wanted.memory_mb.into(),
            timeout_s: wanted.timeout_s.into(),
            role: String::new(),
            environment: BTreeMap::new(),
            key: wanted.key.as_ref().map(ToString::to_string),
            tracing: wanted.tracing,
            log_group: String::new(),
            concurrency: wanted.concurrency.map(Into::into),
            on_failure: None,
            published: true,
            failure: None,
        };
        let origin = Origin::new(&self.site.caller_arn, self.programs.commit.as_ref());
        let function = Function { name: self.names.plain(entry), origin, open: wanted.variables.open() };
        // A bucket of the stack has to exist first.
        let failures = wanted.on_failure.as_ref().map(|destination| match destination {
            config::Destination::Bucket(bucket) => self.wires.get(&format!("buckets.{bucket}.arn")).cloned(),
            config::Destination::Arn(arn) => Some(Wire::literal(arn)),
        });
        let inputs = (role, logs, environment, failures.flatten());
        let function = self.stack.add(entry, function, inputs, move |(role, logs, environment, on_failure)| {
            function::Settings { role, environment, log_group: logs.name, on_failure, ..basis.clone() }
        });
        self.offer(
            "functions",
            entry,
            [
                ("name", function.wire(|function| function.name.clone())),
                ("arn", function.wire(|function| function.arn.clone())),
            ],
        );
        function
    }

    /// The ARN of a destination for failed events.
    fn destination(&self, destination: &config::Destination) -> String {
        match destination {
            config::Destination::Bucket(entry) => {
                format!("arn:{}:s3:::{}", self.site.partition(), self.names.bucket(entry.as_str()))
            }
            config::Destination::Arn(arn) => arn.clone(),
        }
    }

    /// The role of a function: one of its own with least privileges, or the existing one.
    fn function_role(&mut self, entry: &str, wanted: &config::Function, log_group_arn: String) -> Wire {
        if let Some(existing) = &self.config.roles {
            return Wire::literal(format!(
                "arn:{}:iam::{}:role/{}",
                self.site.partition(),
                self.site.account,
                existing.existing
            ));
        }
        let mut uses = self.uses(&wanted.uses, &wanted.variables.stored);
        uses.tracing = wanted.tracing;
        if let Some(config::Destination::Bucket(bucket)) = &wanted.on_failure {
            uses.keys.extend(self.key_of_bucket(bucket, config::Access::Write));
        }
        // Lambda decrypts the environment with the rights of the role.
        uses.keys.extend(wanted.key.as_ref().map(|key| self.key_use(key, "lambda", &["kms:Decrypt"])));
        let failures = wanted.on_failure.as_ref().map(|destination| self.destination(destination));
        let policy = policy::function_policy(&uses, &log_group_arn, failures.as_deref());
        let role = Role { name: self.names.function_role(entry) };
        let settings = role::Settings {
            path: self.names.iam_path(),
            trusted_service: "lambda.amazonaws.com".into(),
            trusted_account: Some(self.site.account.clone()),
            policy,
        };
        let role = self.stack.add(format!("{entry}-fn"), role, (), move |()| settings.clone());
        role.wire(|role| role.arn.clone())
    }

    /// Permissions for each function: the buckets whose uploads invoke it.
    pub(super) fn permissions(
        &mut self,
        functions: &BTreeMap<String, Handle<Function>>,
        buckets: &BTreeMap<String, Handle<Bucket>>,
    ) -> BTreeMap<String, Handle<Permissions>> {
        let mut permissions = BTreeMap::new();
        for (entry, &function) in functions {
            self.stack.section(format!("functions.{entry}"));
            let sources: BTreeMap<String, Handle<Bucket>> = self
                .config
                .buckets
                .iter()
                .filter(|(_, bucket)| bucket.on_upload.as_ref().is_some_and(|upload| upload.function.as_str() == entry))
                .map(|(bucket, _)| (format!("deployer-{bucket}"), buckets[bucket.as_str()]))
                .collect();
            let account = self.site.account.clone();
            let handle = self.stack.add_inside(entry, (function, sources), move |(function, sources)| {
                let statement =
                    |bucket: bucket::Output| Statement::invoke("s3.amazonaws.com", bucket.arn, account.clone());
                let statements = sources.into_iter().map(|(id, bucket)| (id, statement(bucket))).collect();
                (Permissions { function: function.name }, permissions::Settings { statements })
            });
            permissions.insert(entry.clone(), handle);
        }
        permissions
    }
}
