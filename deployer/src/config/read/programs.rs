//! Functions, and what they share with services: programs, environments, and what they use.

use std::collections::BTreeMap;

use super::{Fields, Reader, breaks_a_line};
use crate::{
    config::{
        Access, Commands, Destination, Folder, Function, Managed, Name, Program, REFERENCES, RETENTIONS, RUNTIMES,
        Runtime, Uses,
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
pub(super) fn reserved_by_lambda(name: &str) -> Option<(&'static str, &'static str)> {
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
pub(super) fn reserved_by_us(name: &str) -> Option<(&'static str, &'static str)> {
    (name == "PORT").then_some(("is set by the deployer", "leave it out: the service's `port` is where it listens"))
}

/// Whether a text can be the name of a package for dnf, and nothing else, such as an option or a path.
fn is_rpm(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_part)
}

/// Whether this is the ARN of a bucket, or of a standard queue or topic: Lambda sends nothing to those with an order.
fn is_destination(arn: &str) -> bool {
    let is_name = |name: &str, more: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, service, region, account, name] if is_name(partition, "-") => match service {
            "s3" => region.is_empty() && account.is_empty() && is_name(name, ".-"),
            "sqs" | "sns" => is_name(region, "-") && is_name(name, "_-") && is_account(account),
            _ => false,
        },
        _ => false,
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Reader<'_> {
    pub(super) fn function(&mut self, path: &str, value: &Located) -> Option<Function> {
        let fields = self.fields(path, value)?;
        Some(Function {
            program: self.function_program(&fields),
            architecture: self.architecture(&fields),
            memory_mb: self.number(&fields, "memory_mb"),
            timeout_s: self.number(&fields, "timeout_s"),
            concurrency: self.optional_number(&fields, "concurrency"),
            on_failure: self.destination(&fields),
            tracing: self.boolean(&fields, "tracing"),
            key: self.encryption_key_arn(&fields, "key"),
            log_retention_days: self.retention(&fields),
            log_key: self.encryption_key_arn(&fields, "log_key"),
            variables: self.environment(&fields, reserved_by_lambda),
            uses: self.uses(&fields),
        })
    }

    fn destination(&mut self, fields: &Fields<'_>) -> Option<Destination> {
        let text = self.optional_text(fields, "on_failure")?;
        let reference = text.strip_prefix("${buckets.").and_then(|rest| rest.strip_suffix(".arn}"));
        let found = match reference {
            Some(bucket) => bucket.parse().ok().map(Destination::Bucket),
            None => is_destination(&text).then(|| Destination::Arn(text.clone())),
        };
        if found.is_none() {
            let help = "write ${buckets.NAME.arn} for a bucket of this file, or the ARN of a bucket, a standard SQS queue or \
                        a standard SNS topic, such as arn:aws:sqs:us-east-1:123456789012:failed";
            self.problem(self.place(fields, "on_failure"), format!("{text:?} cannot receive failed events"), help);
        }
        found
    }

    pub(super) fn program(&mut self, fields: &Fields<'_>) -> Program {
        let nothing = Program::Package(String::new());
        let help = "name a Cargo package with `package`, or a finished program with `binary`";
        match (fields.get("package"), fields.get("binary")) {
            (Some(_), None) => self.package(fields).map_or(nothing, Program::Package),
            (None, Some(_)) => {
                let binary = self.optional_text(fields, "binary").unwrap_or_default();
                if binary.is_empty() {
                    self.problem(self.place(fields, "binary"), "`binary` is not the path of a file", help);
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

    /// The program of a function, which may be a folder that a runtime of Lambda runs.
    fn function_program(&mut self, fields: &Fields<'_>) -> Program {
        const KINDS: &str =
            "a Cargo package with `package`, a finished program with `binary`, or a folder with `files`";
        let others = ["package", "binary"].into_iter().filter(|key| fields.get(key).is_some()).count();
        if fields.get("files").is_some() {
            if others > 0 {
                self.problem(fields.place, format!("{} has two programs", fields.path), format!("name either {KINDS}"));
            }
            return self.managed(fields).map_or(Program::Package(String::new()), Program::Managed);
        }
        for key in ["runtime", "handler"].into_iter().filter(|key| fields.get(key).is_some()) {
            let help = "name the folder with the code with `files`, or leave it out: `package` and `binary` are programs of \
                        their own, which need none";
            self.problem(self.place(fields, key), format!("`{key}` has no effect without `files`"), help);
        }
        if others == 0 {
            self.problem(fields.place, format!("{} has no program", fields.path), format!("name {KINDS}"));
            return Program::Package(String::new());
        }
        self.program(fields)
    }

    fn managed(&mut self, fields: &Fields<'_>) -> Option<Managed> {
        let path = self.optional_text(fields, "files").unwrap_or_default();
        if path.is_empty() {
            let help = "name the folder with the code";
            self.problem(self.place(fields, "files"), "`files` is not the path of a folder", help);
        }
        for (key, help) in [
            ("runtime", format!("add `runtime`: one of {}", RUNTIMES.join(", "))),
            ("handler", "add `handler`: the file and the function in it that Lambda calls, such as app.handler".into()),
        ] {
            if fields.get(key).is_none() {
                self.problem(fields.place, format!("`{key}` is missing in {}", fields.path), help);
            }
        }
        let (runtime, handler) = (self.runtime(fields), self.optional_text(fields, "handler")?);
        let runtime = runtime?;
        let said = format!("{handler:?} is not a handler of {runtime}");
        let handler = self.understood(fields, "handler", &said, runtime.handler(&handler).map_err(str::to_owned))?;
        Some(Managed { path: path.into(), runtime, handler })
    }

    fn runtime(&mut self, fields: &Fields<'_>) -> Option<Runtime> {
        fields.get("runtime")?;
        // An invalid value is read as the first of `RUNTIMES`.
        let before = self.problems.len();
        let runtime = self.one_of(fields, "runtime", RUNTIMES);
        (self.problems.len() == before).then(|| Runtime::named(runtime))
    }

    /// The program of a service, which may be a folder.
    pub(super) fn service_program(&mut self, fields: &Fields<'_>) -> Program {
        let others = ["package", "binary"].into_iter().filter(|key| fields.get(key).is_some()).count();
        if fields.get("files").is_some() {
            if others > 0 {
                let help = "name either a Cargo package with `package`, a finished program with `binary`, or a folder with \
                            `files`";
                self.problem(fields.place, format!("{} has two programs", fields.path), help);
            }
            return Program::Files(self.folder(fields));
        }
        for key in ["run", "packages", "setup"].into_iter().filter(|key| fields.get(key).is_some()) {
            let help = "name the folder with the program with `files`, or leave it out: it is for folders only";
            self.problem(self.place(fields, key), format!("`{key}` has no effect without `files`"), help);
        }
        if others == 0 {
            let help =
                "name a Cargo package with `package`, a finished program with `binary`, or a folder with `files`";
            self.problem(fields.place, format!("{} has no program", fields.path), help);
            return Program::Package(String::new());
        }
        self.program(fields)
    }

    fn folder(&mut self, fields: &Fields<'_>) -> Folder {
        let path = self.optional_text(fields, "files").unwrap_or_default();
        if path.is_empty() {
            self.problem(
                self.place(fields, "files"),
                "`files` is not the path of a folder",
                "name the folder with the program",
            );
        }
        if fields.get("run").is_none() {
            let help = "write the command that runs the program, such as `run: python3 main.py`";
            self.problem(fields.place, format!("`run` is missing in {}", fields.path), help);
        }
        let run = self.command(fields, "run").unwrap_or_default();
        let setup = self.command(fields, "setup");
        let packages = self.texts(fields, "packages").unwrap_or_default();
        for (package, place) in &packages {
            if !is_rpm(package) {
                let help = "names of packages have letters, digits and + - . _, such as python3-pip";
                self.problem(*place, format!("{package:?} is not the name of a package"), help);
            }
        }
        let packages = packages.into_iter().map(|(package, _)| package).collect();
        Folder { path: path.into(), commands: Commands { run, setup, packages } }
    }

    /// A command for bash, without the space around it: YAML would take that of its first line for indentation.
    fn command(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let command = self.optional_text(fields, key)?.trim().to_owned();
        let is_unfit = |c: &char| !matches!(c, '\n' | '\t') && breaks_a_line(*c);
        if command.is_empty() {
            self.problem(self.place(fields, key), format!("`{key}` is empty"), "write a command");
        } else if let Some(character) = command.chars().find(is_unfit) {
            let help = "write plain text: no control characters but line breaks and tabs";
            self.problem(self.place(fields, key), format!("`{key}` has the character {character:?}"), help);
        }
        Some(command)
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

#[cfg(test)]
mod tests {
    use super::is_destination;

    #[test]
    fn only_buckets_and_standard_queues_and_topics_take_failed_events() {
        for arn in [
            "arn:aws:s3:::failures",
            "arn:aws-cn:sqs:cn-north-1:123456789012:failed",
            "arn:aws:sns:us-east-1:123456789012:failed_events",
        ] {
            assert!(is_destination(arn), "{arn}");
        }
        for arn in [
            "",
            "failures",
            "arn:aws:s3:::failures/key",
            "arn:aws:s3:us-east-1:123456789012:failures",
            "arn:aws:sqs:us-east-1:123456789012:failed.fifo",
            "arn:aws:sns:us-east-1:123456789012:failed:subscription",
            "arn:aws:sns:us-east-1:12345:failed",
            "arn:aws:sqs:us-east-1:123456789012:",
            "arn:aws:lambda:us-east-1:123456789012:function:other",
        ] {
            assert!(!is_destination(arn), "{arn}");
        }
    }
}
