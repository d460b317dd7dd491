//! The page: every resource of a stack, and the outputs that each of them uses.

mod direct;
mod front;
mod functions;
mod https;
pub mod names;
mod network;
pub mod policy;
mod resource_names;
mod services;
mod shared;
mod storage;
pub mod user_data;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cloud::{
        aws::Aws,
        health,
        site::{Network, Site},
        why::FunctionNames,
    },
    config::{self, Config},
    engine::{Handle, Inputs as _, Joined, Stack, Tags, Wire},
    kinds::{bucket::Bucket, function::Function},
    package::programs::Programs,
};

pub use self::{
    front::{Front, INTERNAL_REACH},
    https::{Https, https_url},
    resource_names::{ResourceNames, resource_names},
    services::url,
    shared::WantedRule,
};
use self::{names::StackNames, shared::Shared};

/// How long a new release is watched on AWS, unless stack.yaml says otherwise. CloudWatch sees an error after two to three
/// minutes (docs/aws.md §10.9).
pub const USUAL_BAKE_MINUTES: u16 = 5;

/// How long a new release is watched at this site, unless stack.yaml says otherwise.
pub fn usual_bake_minutes(site: &Site) -> u16 {
    if site.is_emulated { 0 } else { USUAL_BAKE_MINUTES }
}

/// A stack, and the parts of it that commands report.
pub struct Page {
    /// Every resource.
    pub stack: Stack<Aws>,
    /// The `outputs` of `stack.yaml`, in its order.
    pub outputs: Vec<(String, Joined)>,
    /// The values that `verify` refers to, by the paths of the references.
    pub verify: BTreeMap<String, Wire>,
    /// The services whose health `up` waits for.
    pub services: Vec<Front>,
    /// The functions, for their diagnosis.
    pub functions: Vec<FunctionNames>,
    /// The rules of listeners.
    pub rules: Vec<WantedRule>,
}

impl Page {
    /// The resources that `outputs` reads: those that its texts refer to, and the load balancers that users lead domains to
    /// by records of their own.
    pub fn needed_by_outputs(&self) -> BTreeSet<usize> {
        let of_texts = self.outputs.iter().flat_map(|(_, text)| text.needs());
        let by_hand = self.services.iter().filter(|front| front.may_have_records_by_hand());
        let balancers = by_hand.flat_map(|front| front.balancer.iter().flat_map(|balancer| balancer.needs()));
        self.stack.with_needs(of_texts.chain(balancers))
    }
}

/// Lays out the whole stack. Without a network there are no services, and none can exist.
pub fn lay_out(
    config: &Config,
    site: &Site,
    network: Option<&Network>,
    programs: &Programs,
    wait: health::Wait,
) -> Page {
    lay_out_until(config, site, network, programs, wait, Later::default())
}

/// Facts about a stack that are not in its description.
#[derive(Debug, Clone, Default)]
pub struct Later {
    /// When the services end, in the notation of RFC 3339.
    pub ends: Option<String>,
    /// The versions of the values that are kept in AWS.
    pub versions: config::Versions,
}

/// The same, with facts that are not in the description.
pub fn lay_out_until(
    config: &Config,
    site: &Site,
    network: Option<&Network>,
    programs: &Programs,
    wait: health::Wait,
    later: Later,
) -> Page {
    let mut page = Layout { later, ..Layout::begin(config, site, programs, wait) };
    let anchor = page.anchor();
    let buckets = page.buckets();
    page.tables();
    let Running { functions, fronts } = page.functions_and_services(network, anchor);
    let permissions = page.permissions(&functions, &buckets);
    page.notifications(&buckets, &functions, &permissions);
    let outputs = config.outputs.iter().map(|(name, text)| (name.to_string(), page.joined(text))).collect();
    let verify = page.referred(config.verify.iter().flat_map(|verify| verify.references()));
    let functions = page.function_names();
    Page { stack: page.stack, outputs, verify, services: fronts, functions, rules: page.rules }
}

struct Layout<'a> {
    stack: Stack<Aws>,
    /// The attributes that references in `stack.yaml` can name, as `section.entry.attribute`.
    wires: BTreeMap<String, Wire>,
    names: StackNames,
    config: &'a Config,
    site: &'a Site,
    programs: &'a Programs,
    wait: health::Wait,
    later: Later,
    /// The services that have load balancers, by name, as far as they have been laid out.
    shared: BTreeMap<String, Shared>,
    /// The rules of listeners, as far as they have been laid out.
    rules: Vec<WantedRule>,
}

/// Handles of functions and services that later resources use.
struct Running {
    functions: BTreeMap<String, Handle<Function>>,
    fronts: Vec<Front>,
}

impl<'a> Layout<'a> {
    fn begin(config: &'a Config, site: &'a Site, programs: &'a Programs, wait: health::Wait) -> Layout<'a> {
        Layout {
            stack: Stack::new(config.name.to_string(), tags(config)),
            wires: BTreeMap::new(),
            names: StackNames::of(config, site),
            config,
            site,
            programs,
            wait,
            later: Later::default(),
            shared: BTreeMap::new(),
            rules: Vec::new(),
        }
    }
}

impl Layout<'_> {
    /// Functions and services may refer to each other, so each is added after all that it refers to. `config.rs` has
    /// rejected cycles: every round adds at least one.
    fn functions_and_services(&mut self, network: Option<&Network>, anchor: Handle<Bucket>) -> Running {
        let mut running = Running { functions: BTreeMap::new(), fronts: Vec::new() };
        let config = self.config;
        let mut functions: Vec<_> = config.functions.iter().collect();
        let network = network.map(|network| (network, self.network(network)));
        let mut services: Vec<_> = network.as_ref().map(|_| config.services.iter().collect()).unwrap_or_default();
        while !functions.is_empty() || !services.is_empty() {
            let waiting = functions.len() + services.len();
            functions.retain(|(entry, function)| {
                let ready = self.has_all(function.variables.texts.values());
                if ready {
                    running.functions.insert(entry.to_string(), self.function(entry.as_str(), function));
                }
                !ready
            });
            services.retain(|(entry, service)| {
                let is_ready = self.has_all(service.variables.texts.values()) && self.has_front(service);
                let (Some((network, placement)), true) = (&network, is_ready) else { return true };
                running.fronts.push(match service.is_direct {
                    true => self.direct_service(entry.as_str(), service, placement, anchor),
                    false => self.service(entry.as_str(), service, (network, placement), anchor),
                });
                false
            });
            if functions.len() + services.len() == waiting {
                break; // the others refer to a service, and without a network there are no services
            }
        }
        running
    }
}

fn tags(config: &Config) -> Tags {
    config.tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
