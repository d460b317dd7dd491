//! Functions, and what they share with services: programs, environments, and what they use.

use std::collections::BTreeMap;

use super::{Fields, Reader};
use crate::{
    config::{
        Access, Function, Name, Program, REFERENCES, RETENTIONS, Uses,
        tree::{Located, Node},
    },
    package::Architecture,
};

/// Variables that Lambda sets itself and rejects (AWS Lambda Developer Guide, "Defined runtime environment variables",
/// reserved ones). All others may be set, such as `AWS_ENDPOINT_URL_REKOGNITION` or `TZ`.
pub const RESERVED_BY_LAMBDA: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Variables that a function cannot have, and why (docs/aws.md §7.1).
pub(super) fn kept_by_lambda(name: &str) -> Option<(&'static str, &'static str)> {
    if RESERVED_BY_LAMBDA.contains(&name) {
        return Some(("is set by Lambda itself", "leave it out"));
    }
    if name == REFERENCES {
        return Some(("is set by the deployer", "leave it out: write { secret: NAME } as the value of a variable"));
    }
    let taken = name.len() > 1 && !name.starts_with('_');
    let help = "Lambda takes names of at least two characters that begin with a letter";
    (!taken).then_some(("cannot be a variable of a function", help))
}

/// Variables that a service cannot have, and why.
pub(super) fn kept_by_us(name: &str) -> Option<(&'static str, &'static str)> {
    (name == "PORT").then_some(("is set by the deployer", "leave it out: the service's `port` is where it listens"))
}

impl Reader<'_> {
    pub(super) fn function(&mut self, path: &str, value: &Located) -> Option<Function> {
        let fields = self.fields(path, value)?;
        Some(Function {
            program: self.program(&fields),
            architecture: self.architecture(&fields),
            memory_mb: self.number(&fields, "memory_mb"),
            timeout_s: self.number(&fields, "timeout_s"),
            concurrency: self.optional_number(&fields, "concurrency"),
            log_retention_days: self.retention(&fields),
            variables: self.environment(&fields, kept_by_lambda),
            uses: self.uses(&fields),
        })
    }

    pub(super) fn program(&mut self, fields: &Fields<'_>) -> Program {
        let nothing = Program::Package(String::new());
        let help = "name a Cargo package with `package`, or a finished program with `binary`";
        match (fields.get("package"), fields.get("binary")) {
            (Some(_), None) => self.package(fields).map_or(nothing, Program::Package),
            (None, Some(_)) => {
                let binary = self.optional_text(fields, "binary").unwrap_or_default();
                if binary.is_empty() {
                    self.problem(self.place(fields, "binary"), "`binary` names no file", help);
                }
                Program::Binary(binary.into())
            }
            (package, _) => {
                let what = if package.is_some() { "two programs" } else { "no program" };
                self.problem(fields.place, format!("{} has {what}", fields.path), help);
                nothing
            }
        }
    }

    pub(super) fn package(&mut self, fields: &Fields<'_>) -> Option<String> {
        let package = self.optional_text(fields, "package")?;
        let is_name = |c: char| c.is_alphanumeric() || "-_".contains(c);
        if package.is_empty() || package.starts_with('-') || !package.chars().all(is_name) {
            let help = "write the package's name from its Cargo.toml; `binary` is for files";
            self.problem(self.place(fields, "package"), format!("{package:?} is not a package name"), help);
        }
        Some(package)
    }

    pub(super) fn architecture(&mut self, fields: &Fields<'_>) -> Architecture {
        match self.optional_text(fields, "architecture").as_deref() {
            None | Some("x86_64") => Architecture::X86_64,
            Some("arm64") => Architecture::Arm64,
            Some(other) => {
                let place = self.place(fields, "architecture");
                let help = match other.to_lowercase().as_str() {
                    "amd64" | "x86-64" | "x64" | "x86" | "i686" => "use x86_64, as AWS calls it",
                    "aarch64" | "arm" | "graviton" => "use arm64, as AWS calls it",
                    _ => "use x86_64 or arm64",
                };
                self.problem(place, format!("there is no architecture {other:?}"), help);
                Architecture::X86_64
            }
        }
    }

    pub(super) fn retention(&mut self, fields: &Fields<'_>) -> Option<u16> {
        let days: u16 = self.optional_number(fields, "log_retention_days")?;
        if !RETENTIONS.contains(&i64::from(days)) {
            let nearest = RETENTIONS.iter().find(|allowed| **allowed >= i64::from(days)).unwrap_or(&3_653);
            let place = self.place(fields, "log_retention_days");
            self.problem(place, format!("CloudWatch cannot keep a log for {days} days"), format!("use {nearest}"));
        }
        Some(days)
    }

    pub(super) fn uses(&mut self, fields: &Fields<'_>) -> Uses {
        let fields = self.fields_of(fields, "uses");
        Uses {
            buckets: self.accesses(&fields, "buckets"),
            tables: self.accesses(&fields, "tables"),
            rekognition: self.boolean(&fields, "rekognition"),
        }
    }

    pub(super) fn accesses(&mut self, uses: &Fields<'_>, section: &str) -> BTreeMap<Name, Access> {
        let path = uses.path(section);
        let Some(entries) = uses.get(section).and_then(|value| self.map(&path, value)) else {
            return BTreeMap::new();
        };
        let mut accesses = BTreeMap::new();
        for (key, place, value) in entries {
            self.places.insert(format!("{path}.{key}"), *place);
            let access = match &value.node {
                Node::Text(text) if text == "read" => Access::Read,
                Node::Text(text) if text == "write" => Access::Write,
                Node::Text(text) if text == "read_write" => Access::ReadWrite,
                _ => {
                    self.problem(value.place, "this is not a kind of access", "use read, write or read_write");
                    continue;
                }
            };
            match key.parse() {
                Ok(name) => drop(accesses.insert(name, access)),
                Err(help) => self.problem(*place, format!("{key:?} is not a valid entry name"), help),
            }
        }
        accesses
    }
}
