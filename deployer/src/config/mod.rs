//! `stack.yaml`, read and validated, with the place of every value. A [`Config`] is always valid.

mod aws_names;
mod behind;
mod block;
mod checks;
mod encryption_key;
mod error;
mod exposed;
pub mod fields;
mod hidden;
mod read;
mod runtimes;
pub mod schema;
mod stored_values;
pub mod template;
mod text;
mod tree;
pub mod verify;
mod web_acl;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use aws_names::{FAMILIES, REGIONS, RETENTIONS, SIZES, regions};
pub use behind::{Behind, priorities};
pub use block::Block;
pub use checks::{ACCOUNT_REGIONAL, LAB_INSTANCES};
pub use encryption_key::EncryptionKey;
pub use error::{Errors, Place, Problem, did_you_mean};
pub use exposed::{Exposed, is_secret};
pub use read::{KEY_TYPES, METHODS, NAMESPACES, RESERVED_BY_LAMBDA, STREAMS};
pub use runtimes::{Handler, RUNTIMES, Runtime};
pub use stored_values::{REFERENCES, Store, StoredValue, StoredVariables, Versions, read_references, references};
pub use text::{Piece, Reference, Text};
pub use web_acl::WebAcl;

use crate::{
    machine::files::{FileError, read_regular_file},
    package::Architecture,
};

/// The most bytes of the variables of a function or service: Lambda's limit (docs/aws.md §7.1). It leaves enough room in
/// user data for the rest (§8.4).
pub const LARGEST_ENVIRONMENT: usize = 4096;

/// The same for a service without a load balancer: its user data also has the unit that associates its address, and its
/// name may be longer.
pub const LARGEST_DIRECT_ENVIRONMENT: usize = 2816;

/// The most bytes of `run`, `setup` and `packages` of a service, for the same reason.
pub const LARGEST_COMMANDS: usize = 1024;

/// The bytes that user data adds to a line: its indentation and its end.
const INDENTED: usize = 5;

/// The public port of HTTPS.
pub const HTTPS_PORT: u16 = 443;

/// The largest file that is read, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// A whole description.
#[derive(Debug, Clone)]
pub struct Config {
    /// The stack's name, which all names in the cloud begin with.
    pub name: Name,
    /// The region to deploy to.
    pub region: Region,
    /// The only account to deploy to.
    pub account: Option<String>,
    /// Tags for every resource.
    pub tags: BTreeMap<String, String>,
    /// Existing roles to use instead of creating any.
    pub roles: Option<ExistingRoles>,
    /// Whether the account is a Learner Lab of AWS Academy, which has limits of its own.
    pub is_lab: bool,
    /// The network of the services; `None` for the region's default network.
    pub network: Option<ChosenNetwork>,
    /// Buckets, by their names in the file.
    pub buckets: BTreeMap<Name, Bucket>,
    /// Tables.
    pub tables: BTreeMap<Name, Table>,
    /// Functions.
    pub functions: BTreeMap<Name, Function>,
    /// Services.
    pub services: BTreeMap<Name, Service>,
    /// The outputs, in the order of the file.
    pub outputs: Vec<(String, Text)>,
    /// The requests of `deployer verify`.
    pub verify: Option<verify::Verify>,
    places: BTreeMap<String, Place>,
    source: Source,
}

/// The file as errors quote it: without the values of variables.
#[derive(Debug, Clone, Default)]
struct Source {
    file: String,
    text: String,
}

/// A name of lower-case letters, digits and single hyphens, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// An AWS region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

/// An instance type, such as `t3.micro`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    name: String,
    architecture: Architecture,
}

/// A CIDR block, such as `0.0.0.0/0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cidr(String);

/// A TCP port, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(u16);

/// Existing roles: with these, nothing is ever written to IAM (docs/aws.md §3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingRoles {
    /// The role of every function.
    pub existing: String,
    /// The instance profile of every service.
    pub instance_profile: Option<String>,
}

/// A network other than the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenNetwork {
    /// One that exists.
    Existing(ExistingNetwork),
    /// One of the stack's own, with this block of addresses.
    Own(Block),
}

impl ChosenNetwork {
    /// The number of zones that it is in.
    pub fn zones(&self) -> usize {
        match self {
            ChosenNetwork::Existing(existing) => existing.subnets.len(),
            ChosenNetwork::Own(_) => OWN_ZONES,
        }
    }
}

/// The zones of a network of the stack's own: as many as a load balancer needs. Each one costs a public address.
pub const OWN_ZONES: usize = 2;

/// A network that the deployer uses and never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingNetwork {
    /// The id of its VPC.
    pub vpc: String,
    /// The ids of the subnets to use.
    pub subnets: BTreeSet<String>,
}

impl ExistingRoles {
    /// Those of every Learner Lab of AWS Academy (docs/aws.md §3.4).
    pub fn of_lab() -> ExistingRoles {
        ExistingRoles { existing: LAB_ROLE.into(), instance_profile: Some("LabInstanceProfile".into()) }
    }
}

/// The role that only Learner Labs of AWS Academy have.
const LAB_ROLE: &str = "LabRole";

/// A private bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    /// The CORS rules.
    pub cors: Option<Cors>,
    /// The function to notify of uploads.
    pub on_upload: Option<Upload>,
    /// Whether the deployer refuses to delete it.
    pub protect: bool,
    /// Whether overwritten and deleted objects are kept as older versions.
    pub versioning: bool,
    /// When S3 deletes its objects.
    pub lifecycle: Lifecycle,
    /// The key that its objects are encrypted with; a key of S3 if absent.
    pub key: Option<EncryptionKey>,
    /// Whether its name is in the account's regional namespace, rather than in the global one.
    pub is_account_regional: bool,
}

/// When S3 deletes the objects of a bucket; never if absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifecycle {
    /// The days after the upload of an object.
    pub expire_days: Option<u16>,
    /// The days after an older version was overwritten or deleted.
    pub noncurrent_days: Option<u16>,
}

/// A CORS rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins, or `*`.
    pub origins: Vec<String>,
    /// HTTP methods.
    pub methods: Vec<String>,
    /// Request headers.
    pub headers: Vec<String>,
    /// Response headers.
    pub expose: Vec<String>,
    /// How long a browser may cache the answer to a preflight, in seconds.
    pub max_age_s: Option<u16>,
}

/// An upload notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The name of the function to notify.
    pub function: Name,
    /// The key prefix.
    pub prefix: Option<String>,
    /// The key suffix.
    pub suffix: Option<String>,
}

/// A table, billed by request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The partition key.
    pub partition_key: Key,
    /// The sort key.
    pub sort_key: Option<Key>,
    /// Global secondary indexes.
    pub indexes: BTreeMap<Name, Index>,
    /// Local secondary indexes; their partition key is the table's.
    pub local_indexes: BTreeMap<Name, Index>,
    /// Whether AWS refuses to delete it.
    pub protect: bool,
    /// Whether it can be restored to any second of the last 35 days.
    pub point_in_time_recovery: bool,
    /// The attribute with the time at which a row is deleted, in seconds since 1970.
    pub time_to_live: Option<String>,
    /// The view type of its stream, as `stack.yaml` names it; `None` without a stream.
    pub stream: Option<String>,
    /// The key that it is encrypted with; a key of DynamoDB if absent.
    pub key: Option<EncryptionKey>,
}

/// An attribute that is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its type: `string`, `number` or `binary`.
    pub kind: &'static str,
}

impl fmt::Display for Key {
    /// The notation of the settings of tables: the name, with a type that is not string, as in `id (number)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            "string" => f.write_str(&self.name),
            kind => write!(f, "{} ({kind})", self.name),
        }
    }
}

impl Table {
    /// Whether it has secondary indexes.
    pub fn has_indexes(&self) -> bool {
        !self.indexes.is_empty() || !self.local_indexes.is_empty()
    }
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The partition key.
    pub partition_key: Key,
    /// The sort key.
    pub sort_key: Option<Key>,
    /// The attributes that it copies besides the keys, sorted; `None` for all.
    pub include: Option<Vec<String>>,
}

/// The source of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A package of the Cargo workspace around the file.
    Package(String),
    /// A finished program, relative to the file.
    Binary(PathBuf),
    /// A folder with a program in any language; of services only.
    Files(Folder),
    /// A folder that a runtime of Lambda runs; of functions only.
    Managed(Managed),
}

/// A folder that a runtime of Lambda runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managed {
    /// Its path, relative to the file.
    pub path: PathBuf,
    /// The runtime.
    pub runtime: Runtime,
    /// The function in it that the runtime calls.
    pub handler: Handler,
}

/// A folder with a program in any language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its path, relative to the file.
    pub path: PathBuf,
    /// The commands with which instances run it.
    pub commands: Commands,
}

/// The commands that instances run in a folder of files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commands {
    /// The command that runs the program.
    pub run: String,
    /// The command that runs once before.
    pub setup: Option<String>,
    /// The packages to install.
    pub packages: Vec<String>,
}

impl Commands {
    /// The maximum number of bytes that they take in user data: it indents each line.
    pub fn bytes(&self) -> usize {
        let lines = |text: &str| text.lines().map(|line| line.len() + INDENTED).sum::<usize>();
        let packages: usize = self.packages.iter().map(|package| package.len() + 1).sum();
        lines(&self.run) + self.setup.as_deref().map_or(0, lines) + packages
    }
}

/// The resources that a function or service uses, which determine its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uses {
    /// Buckets.
    pub buckets: BTreeMap<Name, Access>,
    /// Tables.
    pub tables: BTreeMap<Name, Access>,
    /// Whether it calls Rekognition.
    pub rekognition: bool,
}

/// The access to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Write only.
    Write,
    /// Read and write.
    ReadWrite,
}

impl Access {
    /// Whether it includes reading.
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// Whether it includes writing.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}

/// The variables of a program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// The variables whose values are in `stack.yaml`.
    pub texts: Environment,
    /// The variables whose values plans hide.
    pub sensitive: BTreeSet<String>,
    /// The variables whose values are kept in AWS.
    pub stored: StoredVariables,
}

impl Variables {
    /// The variables whose values plans may show: they are in `stack.yaml`, and neither marked nor like secrets, by name or
    /// value.
    pub fn open(&self) -> BTreeSet<String> {
        let is_open = |(name, text): &(&String, &Text)| !self.sensitive.contains(*name) && exposed::is_open(name, text);
        self.texts.iter().filter(is_open).map(|(name, _)| name.clone()).collect()
    }
}

/// Environment variables.
pub type Environment = BTreeMap<String, Text>;

/// A function: a program that is invoked by events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its program.
    pub program: Program,
    /// The processor architecture.
    pub architecture: Architecture,
    /// The memory in MB, 128 to 10,240.
    pub memory_mb: u16,
    /// The timeout in seconds, 1 to 900.
    pub timeout_s: u16,
    /// The number of concurrent invocations, reserved for it; shared with other functions if absent.
    pub concurrency: Option<u16>,
    /// The destination of events that have failed all attempts.
    pub on_failure: Option<Destination>,
    /// Whether X-Ray traces its invocations.
    pub tracing: bool,
    /// The key that its environment is encrypted with; a key of Lambda if absent.
    pub key: Option<EncryptionKey>,
    /// How long its log is kept, in days; forever if absent.
    pub log_retention_days: Option<u16>,
    /// The key that its log is encrypted with; a key of CloudWatch Logs if absent.
    pub log_key: Option<EncryptionKey>,
    /// Its variables.
    pub variables: Variables,
    /// The resources it uses.
    pub uses: Uses,
}

/// The destination of failed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A bucket of the file.
    Bucket(Name),
    /// The ARN of a bucket, queue or topic.
    Arn(String),
}

/// A service: a program on a group of instances behind a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its program.
    pub program: Program,
    /// The port it listens on.
    pub port: Port,
    /// The instance type.
    pub instance_type: InstanceType,
    /// The number of instances.
    pub instances: Instances,
    /// The health check of its targets.
    pub health_check: HealthCheck,
    /// The settings of its load balancer; unused if it has none.
    pub load_balancer: Balancer,
    /// Whether there is no load balancer: one instance has an elastic IP address.
    pub is_direct: bool,
    /// The service whose load balancer it shares, if it has none of its own.
    pub behind: Option<Behind>,
    /// Whether its load balancer writes a log of all requests.
    pub access_logs: bool,
    /// The domain name that it is served at over HTTPS.
    pub domain: Option<String>,
    /// The ARN of an existing certificate.
    pub certificate: Option<String>,
    /// The machine image; if absent, the newest Amazon Linux 2023 at creation.
    pub image: Option<String>,
    /// The size of the root disk, in GB.
    pub disk_gb: u16,
    /// The key that the disks are encrypted with; the account's default key for volumes if absent.
    pub key: Option<EncryptionKey>,
    /// How long a new instance may be unhealthy, in seconds.
    pub grace_period_s: u16,
    /// How long a new release is watched, in minutes; 0 if it is not. If absent, it depends on the cloud.
    pub bake_minutes: Option<u16>,
    /// How long its log is kept, in days; forever if absent.
    pub log_retention_days: Option<u16>,
    /// The key that its log is encrypted with; a key of CloudWatch Logs if absent.
    pub log_key: Option<EncryptionKey>,
    /// Its variables.
    pub variables: Variables,
    /// The resources it uses.
    pub uses: Uses,
}

/// The end of an entry in the names of everything that a service without a load balancer has.
pub const DIRECT_SUFFIX: &str = "-direct";

impl Service {
    /// Returns the entry as it is in the names of the load balancer and of everything behind it. Its scheme is fixed, and
    /// its target group belongs to no other load balancer (docs/aws.md §9.2, §9.3): for another scheme, or none, a new set
    /// of all is created before the old one is removed.
    pub fn entry_in_names(&self, entry: &str) -> String {
        if self.is_direct {
            format!("{entry}{DIRECT_SUFFIX}")
        } else {
            Balancer::entry_of(self.load_balancer.internal, entry)
        }
    }
}

/// The size of a service's group, and when it scales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// The minimum.
    pub min: u16,
    /// The maximum.
    pub max: u16,
    /// The target CPU utilisation, in percent.
    pub cpu_percent: u16,
}

/// The health check of the targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path to request.
    pub path: String,
    /// The interval in seconds.
    pub interval_s: u16,
    /// The timeout in seconds.
    pub timeout_s: u16,
    /// Consecutive successes that make a target healthy.
    pub healthy: u16,
    /// Consecutive failures that make it unhealthy.
    pub unhealthy: u16,
    /// The statuses that count as success, such as `200` or `200-299`.
    pub matcher: String,
}

/// The load balancer of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// The public port.
    pub port: Port,
    /// The CIDR blocks that may connect.
    pub allow: Vec<Cidr>,
    /// Whether AWS refuses to delete it.
    pub protect: bool,
    /// Whether it is reachable from its VPC only.
    pub internal: bool,
    /// Its web ACL; if absent, any that it has is left.
    pub web_acl: Option<WebAcl>,
}

/// The end of an entry in the names of an internal load balancer and of everything behind it.
pub const INTERNAL_SUFFIX: &str = "-internal";

impl Balancer {
    /// Returns the entry as it is in the names of a load balancer and of everything behind it.
    pub fn entry_of(internal: bool, entry: &str) -> String {
        if internal { format!("{entry}{INTERNAL_SUFFIX}") } else { entry.to_owned() }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// Errors: everything that is wrong with it, each with its place and remedy.
    pub fn read(path: &Path) -> Result<Config, Errors> {
        let file = shown(path);
        let bytes = read_regular_file(path, MOST_BYTES as u64).map_err(|error| unreadable(&file, error))?;
        let text =
            String::from_utf8(bytes).map_err(|_| whole(&file, "is not UTF-8 text".into(), Some("save it as UTF-8")))?;
        Config::parse(&file, &text)
    }

    /// Checks a text; `file` is what errors call it.
    ///
    /// Errors: everything that is wrong with it, each with its place and remedy.
    pub fn parse(file: &str, text: &str) -> Result<Config, Errors> {
        if text.len() > MOST_BYTES {
            return Err(too_large(file));
        }
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match read::read(text) {
            Ok(config) => Ok(Config { source: Source { file: file.into(), ..config.source }, ..config }),
            Err((problems, shown)) => Err(Source { file: file.into(), text: shown }.errors(problems)),
        }
    }

    /// The same stack in another region.
    ///
    /// Errors: values that are not valid in that region, such as names that become too long.
    pub fn in_region(self, region: Region) -> Result<Config, Errors> {
        let config = Config { region, ..self };
        let problems = checks::all(&config);
        if problems.is_empty() { Ok(config) } else { Err(config.source.errors(problems)) }
    }

    /// The same stack in a Learner Lab of AWS Academy, which has its own roles.
    ///
    /// Errors: values that a lab does not allow, each with its place and remedy.
    pub fn in_lab(self) -> Result<Config, Errors> {
        let roles = self.roles.unwrap_or_else(ExistingRoles::of_lab);
        let config = Config { roles: Some(roles), is_lab: true, ..self };
        let problems = checks::all(&config);
        if problems.is_empty() { Ok(config) } else { Err(config.source.errors(problems)) }
    }

    /// Returns the variables of all functions and services, each with its path, such as `services.web`.
    pub fn variables(&self) -> impl Iterator<Item = (String, &Variables)> {
        let functions = self.functions.iter().map(|(entry, it)| (format!("functions.{entry}"), &it.variables));
        functions.chain(self.services.iter().map(|(entry, it)| (format!("services.{entry}"), &it.variables)))
    }

    /// Whether a service has an internal load balancer.
    pub fn has_internal(&self) -> bool {
        self.services.values().any(|service| service.load_balancer.internal)
    }

    /// Returns the service whose load balancer a service has, with its entry: itself, or the one that it is behind.
    pub fn front<'a>(&'a self, entry: &'a str, service: &'a Service) -> (&'a str, &'a Service) {
        let front = service.behind.as_ref().and_then(|behind| self.services.get_key_value(&behind.service));
        front.map_or((entry, service), |(entry, front)| (entry.as_str(), front))
    }

    /// Whether a service is reachable from its VPC only.
    pub fn is_internal(&self, entry: &str, service: &Service) -> bool {
        self.front(entry, service).1.load_balancer.internal
    }

    /// Returns every key that the file names, with the path of the value.
    pub fn keys(&self) -> Vec<(String, &EncryptionKey)> {
        let buckets = self.buckets.iter().map(|(entry, it)| (format!("buckets.{entry}.key"), &it.key));
        let tables = self.tables.iter().map(|(entry, it)| (format!("tables.{entry}.key"), &it.key));
        let functions = self.functions.iter().flat_map(|(entry, it)| {
            [(format!("functions.{entry}.key"), &it.key), (format!("functions.{entry}.log_key"), &it.log_key)]
        });
        let services = self.services.iter().flat_map(|(entry, it)| {
            [(format!("services.{entry}.key"), &it.key), (format!("services.{entry}.log_key"), &it.log_key)]
        });
        let all = buckets.chain(tables).chain(functions).chain(services);
        all.filter_map(|(path, key)| Some((path, key.as_ref()?))).collect()
    }

    /// Returns every description of a web ACL, with the path of the value.
    pub fn web_acls(&self) -> impl Iterator<Item = (String, &WebAcl)> {
        self.services.iter().filter_map(|(entry, service)| {
            Some((format!("services.{entry}.load_balancer.waf"), service.load_balancer.web_acl.as_ref()?))
        })
    }

    /// Whether a variable's value is kept there.
    pub fn holds(&self, store: Store) -> bool {
        self.variables().any(|(_, it)| it.stored.values().any(|stored| stored.store == store))
    }

    /// The place of a value, by its path such as `services.web.image`.
    pub fn place_of(&self, path: &str) -> Option<Place> {
        self.places.get(path).copied()
    }
}

impl Source {
    /// References in the order of the file, each once.
    fn errors(self, mut problems: Vec<Problem>) -> Errors {
        problems.sort_by_key(|problem| problem.place);
        let mut seen = BTreeSet::new();
        problems.retain(|problem| seen.insert((problem.place, problem.message.clone())));
        let Source { file, text } = self;
        Errors { file, text, problems }
    }
}

fn unreadable(file: &str, error: FileError) -> Errors {
    let help = Some("name the file that describes the stack: --file PATH");
    match error {
        FileError::TooLarge { .. } => too_large(file),
        FileError::NotRegular { kind, .. } => whole(file, format!("cannot be read: it is {kind}, not a file"), help),
        FileError::Io { source, .. } => whole(file, format!("cannot be read: {source}"), help),
        other => whole(file, format!("cannot be read: {other}"), help),
    }
}

fn too_large(file: &str) -> Errors {
    whole(file, "is larger than 1 MiB".into(), Some("a stack is described in a page or two"))
}

fn whole(file: &str, what: String, help: Option<&str>) -> Errors {
    let problem = Problem { place: Place::default(), message: format!("{file} {what}"), help: help.map(str::to_owned) };
    Errors { file: file.into(), text: String::new(), problems: vec![problem] }
}

/// Relative to the working directory, if it is below it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if letters && begins && !text.ends_with('-') && !text.contains("--") {
            return Ok(Name(text.into()));
        }
        Err("use lower-case letters, digits and single hyphens, beginning with a letter".into())
    }
}

impl Region {
    /// The region as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if regions().any(|known| known == text) {
            return Ok(Region(text.into()));
        }
        let no = format!("AWS has no region {text:?}");
        Err(match error::did_you_mean(text, regions()) {
            Some(meant) => format!("{no}; did you mean {meant:?}?"),
            None => format!("{no}; regions look like us-east-1"),
        })
    }
}

impl InstanceType {
    /// Its processor architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }
}

impl FromStr for InstanceType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (family, size) = text.split_once('.').ok_or("instance types look like t3.micro")?;
        let Some((_, architecture)) = FAMILIES.iter().find(|(name, _)| *name == family) else {
            return Err(match error::did_you_mean(family, FAMILIES.iter().map(|(name, _)| *name)) {
                Some(meant) => format!("did you mean {meant}.{size}?"),
                None => "families look like t3, t4g or m7i".into(),
            });
        };
        if !SIZES.contains(&size) {
            let meant = error::did_you_mean(size, SIZES.iter().copied()).unwrap_or("micro");
            return Err(format!("did you mean {family}.{meant}?"));
        }
        Ok(InstanceType { name: text.into(), architecture: *architecture })
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write an IPv4 block such as 0.0.0.0/0 or 203.0.113.7/32".to_owned();
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
        // Rust would also read `+8` and `08`.
        let plain = |read: &u32| *read <= 32 && read.to_string() == bits;
        let bits: u32 = bits.parse().ok().filter(plain).ok_or_else(wrong)?;
        let rest = u32::from(address).checked_shl(bits).unwrap_or(0);
        if rest != 0 {
            let kept = u32::from(address) & u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            return Err(format!("the block is {}/{bits}", std::net::Ipv4Addr::from(kept)));
        }
        Ok(Cidr(text.into()))
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.0
    }
}

macro_rules! displays {
    ($($type:ident . $field:tt),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }
    )*};
}

displays! { Name.0, Region.0, Cidr.0, InstanceType.name }
