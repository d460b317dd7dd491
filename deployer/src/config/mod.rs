//! `stack.yaml`, read and validated, with the place of every value. A [`Config`] is always valid.

mod access;
mod aws_names;
mod balancer;
mod behind;
mod block;
mod bucket;
mod checks;
mod encryption_key;
mod environment;
mod error;
mod exposed;
pub mod fields;
mod function;
mod hidden;
mod network;
mod program;
mod read;
mod roles;
mod runtimes;
mod scalar;
pub mod schema;
mod service;
mod source;
mod stored_values;
mod table;
pub mod template;
mod text;
mod tree;
pub mod verify;
mod web_acl;

use std::{collections::BTreeMap, path::Path};

pub use access::{Access, Uses};
pub use aws_names::{FAMILIES, REGIONS, RETENTIONS, SIZES, regions};
pub use balancer::{Balancer, HTTPS_PORT, INTERNAL_SUFFIX};
pub use behind::{Behind, priorities};
pub use block::Block;
pub use bucket::{Bucket, Cors, Lifecycle, Upload};
pub use checks::{ACCOUNT_REGIONAL, LAB_INSTANCES};
pub use encryption_key::EncryptionKey;
pub use environment::{Environment, LARGEST_DIRECT_ENVIRONMENT, LARGEST_ENVIRONMENT, Variables};
pub use error::{Errors, Place, Problem, did_you_mean};
pub use exposed::{Exposed, is_secret};
pub use function::{Destination, Function};
pub use network::{ChosenNetwork, ExistingNetwork, OWN_ZONES};
pub use program::{Commands, Folder, LARGEST_COMMANDS, Managed, Program};
pub use read::{KEY_TYPES, METHODS, NAMESPACES, RESERVED_BY_LAMBDA, STREAMS};
pub use roles::ExistingRoles;
use roles::LAB_ROLE;
pub use runtimes::{Handler, RUNTIMES, Runtime};
pub use scalar::{Cidr, InstanceType, Name, Port, Region};
pub use service::{DIRECT_SUFFIX, HealthCheck, Instances, Service};
use source::{MOST_BYTES, SourceFile, shown, too_large, unreadable, whole};
pub use stored_values::{REFERENCES, Store, StoredValue, StoredVariables, Versions, read_references, references};
pub use table::{Index, Key, Table};
pub use text::{Piece, Reference, Text};
pub use web_acl::WebAcl;

use crate::machine::files::read_regular_file;

/// The bytes that user data adds to a line: its indentation and its end.
const INDENTED: usize = 5;

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
    source: SourceFile,
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
            Ok(config) => Ok(Config { source: SourceFile { file: file.into(), ..config.source }, ..config }),
            Err((problems, shown)) => Err(SourceFile { file: file.into(), text: shown }.errors(problems)),
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

    /// Whether several services share the load balancer of this one.
    pub fn is_sharing(&self, entry: &str, service: &Service) -> bool {
        let mut others = self.services.values().filter_map(|other| other.behind.as_ref());
        service.behind.is_some() || others.any(|behind| behind.service.as_str() == entry)
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
