//! A session: a description that has been read, with the clients of its cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    Summary, Wake, check_place, connect_options, describe, folder, in_account, lab, local_access, no_local_aws_here,
    pin_file, place, scale, unless_stopped,
};
use crate::{
    cloud::{
        aws::Aws,
        domains::Domain,
        health, sign_in,
        site::{Network, Site},
        why::{Verdict, failure_reason},
    },
    commands::cli::Global,
    config::{ChosenNetwork, Config, Versions},
    engine::{self, Fault, Schedule, Span},
    kinds::certificate::Issuance,
    machine::pin::Pin,
    output::{exit::Failure, report},
    package::programs::Destination,
};

/// A description that has been read, with the clients of its cloud.
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) file: PathBuf,
    pub(super) aws: Aws,
    pub(super) site: Site,
    pub(super) pin: Pin,
    pub(super) network: Option<Network>,
    pub(super) destination: Destination,
    pub(super) begun: Instant,
    pub(super) lease_term: Duration,
    /// How long the command waits for healthy targets.
    pub(super) wait: health::Wait,
    /// When the services end, in the notation of RFC 3339.
    pub(super) ends: Option<String>,
    /// The versions of the values that AWS keeps.
    pub(super) versions: Mutex<Versions>,
    pub(super) summary: Mutex<Summary>,
    /// When the resources of the run begin and end.
    pub(super) schedule: Mutex<Option<Schedule>>,
    /// The times of all walks so far.
    pub(super) walked: Mutex<Span>,
    /// The causes found for services that are not healthy, by their paths in `stack.yaml`.
    pub(super) verdicts: Mutex<BTreeMap<String, Verdict>>,
}

/// How a command looks up the network of the services and their domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Everything is checked, because the command creates in the network: zones, routes and addresses.
    Strict,
    /// A network that `stack.yaml` names is taken as written: the command uses what exists.
    AsWritten,
    /// A failed lookup is a warning: the command also finds resources by their tags.
    Lenient,
}

impl Session {
    /// Reads `stack.yaml`, connects, and identifies the account.
    ///
    /// Errors: nothing was changed.
    pub(super) async fn open(global: &Global, wake: Wake, lookup: Lookup) -> Result<Option<Session>, Failure> {
        let opened = unless_stopped(Session::connect(global, wake, lookup)).await;
        opened.map_err(|failure| failure.with_summary(|| Summary::default().lines()))
    }

    /// The same for commands that need an existing stack.
    ///
    /// Errors: there is no local AWS whose stack it could be.
    pub(super) async fn open_existing(global: &Global) -> Result<Session, Failure> {
        Session::open(global, Wake::Only, Lookup::AsWritten).await?.ok_or_else(no_local_aws_here)
    }

    async fn connect(global: &Global, wake: Wake, lookup: Lookup) -> Result<Option<Session>, Failure> {
        let Some(mut session) = Session::sign_in(global, wake).await? else { return Ok(None) };
        session.network = session.discover(lookup).await.map_err(|fault| session.unfit(fault))?;
        session.introduce();
        Ok(Some(session))
    }

    /// Opens a session for a command that only uses what exists and does not lay out services: without looking for
    /// their network, which takes permissions of its own.
    pub(super) async fn open_without_network(global: &Global) -> Result<Session, Failure> {
        let session = unless_stopped(Session::sign_in(global, Wake::Only)).await?.ok_or_else(no_local_aws_here)?;
        session.introduce();
        Ok(session)
    }

    /// The option with which a hint repeats a command for the same destination.
    pub(super) fn local_option(&self) -> &'static str {
        if self.destination == Destination::Laptop { " --local" } else { "" }
    }

    /// Names the stack, the account and the credentials.
    pub(super) fn introduce(&self) {
        let Session { config, site, aws, .. } = self;
        report::heading(config.name.as_str(), &site.account, &site.region, aws.endpoint.as_deref());
        if let Some(provider) = &aws.provider {
            report::say(format!("signed in as {} with {}", site.caller_arn, provider.source().name()));
        }
        lab::introduction(config).iter().for_each(report::say);
    }

    /// Reads `stack.yaml`, connects, and identifies the account. Does not look for the network.
    pub(super) async fn sign_in(global: &Global, wake: Wake) -> Result<Option<Session>, Failure> {
        let begun = Instant::now();
        let (file, config) = describe(global)?;
        let Some(local) = local_access(global, folder(&file), config.region.as_str(), wake)? else { return Ok(None) };
        let destination = if global.local { Destination::Laptop } else { Destination::Aws };
        let mut aws = Aws::connect(&connect_options(global, config.region.as_str(), local)).await?;
        aws.scale = scale(global, folder(&file));
        let identified = sign_in::identify(&aws).await;
        let site = identified.map_err(|failure| failure.at(place(&config, &file, "name")))?;
        let config = in_account(config, &site)?;
        let pin = check_place(&config, &site, &pin_file(&file, destination), global.region.is_some())?;
        let lease_term = Duration::from_secs(global.lease.into());
        let (network, wait, ends, versions, summary, schedule, walked, verdicts) = Default::default();
        Ok(Some(Session {
            config,
            file,
            aws,
            site,
            pin,
            network,
            destination,
            begun,
            lease_term,
            wait,
            ends,
            versions,
            summary,
            schedule,
            walked,
            verdicts,
        }))
    }

    /// Finds the network and the domains of the services, if there are any.
    pub(super) async fn discover(&self, lookup: Lookup) -> Result<Option<Network>, Fault> {
        if self.config.services.is_empty() {
            return Ok(None);
        }
        let types = instance_types(&self.config);
        let (stack, chosen) = (self.config.name.as_str(), self.config.network.as_ref());
        let network = async {
            match (chosen, lookup) {
                // The group of an internal load balancer admits the blocks of the VPC.
                (Some(ChosenNetwork::Existing(named)), Lookup::AsWritten) if self.config.has_internal() => {
                    Network::written(named).with_blocks(&self.aws).await
                }
                (Some(ChosenNetwork::Existing(named)), Lookup::AsWritten | Lookup::Lenient) => {
                    Ok(Network::written(named))
                }
                _ => match Network::discover(&self.aws, &types, stack, chosen).await {
                    Err(fault) if lookup == Lookup::Lenient => Ok(self.unknown_network(&fault)),
                    network => network,
                },
            }
        };
        let (network, domains) = futures::try_join!(network, domains(&self.aws, &self.config, lookup))?;
        if lookup == Lookup::Strict {
            network.check_zones(&self.site.region)?;
        }
        Ok(Some(Network { domains, ..network }))
    }

    /// Warns that the network could not be looked up. Without it, security groups are found by their tags alone.
    fn unknown_network(&self, fault: &Fault) -> Network {
        report::warning(&format!(
            "the network of the services is unknown, so their security groups are found by tags: {}",
            failure_reason(fault)
        ));
        Network::unread(self.config.network.as_ref(), &self.site.region)
    }

    /// The network as it is now. On a page for one that another run has made in the meantime, what is in it would be
    /// orphans.
    pub(super) async fn network_now(&self) -> Result<Option<Network>, Failure> {
        let Some(network) = &self.network else { return Ok(None) };
        let again = engine::look(|| network.again(&self.aws, self.config.name.as_str())).await;
        again.map(Some).map_err(|fault| self.unfit(fault))
    }

    /// The number of zones of a load balancer, for prices.
    pub(super) fn zones(&self) -> usize {
        self.network.as_ref().map_or(crate::cost::ZONES, |network| network.subnets.len())
    }

    pub(super) fn folder(&self) -> &Path {
        folder(&self.file)
    }
}

/// The domains of the services that have one, by service.
pub(super) async fn domains(aws: &Aws, config: &Config, lookup: Lookup) -> Result<BTreeMap<String, Domain>, Fault> {
    let mut domains = BTreeMap::new();
    for (entry, service) in &config.services {
        if let Some(domain) = &service.domain {
            let (stack, has_own) = (config.name.as_str(), service.certificate.is_some());
            let found = match engine::look(|| Domain::discover(aws, stack, domain, has_own)).await {
                Err(fault) if lookup == Lookup::Lenient => unseen_domain(domain, &fault),
                found => found?,
            };
            domains.insert(entry.to_string(), found);
        }
    }
    Ok(domains)
}

/// Warns that a domain could not be looked up. Its records carry no tags by which they could be found.
fn unseen_domain(name: &str, fault: &Fault) -> Domain {
    report::warning(&format!(
        "DNS records of {name} could not be looked up; any that exist are left: {}",
        failure_reason(fault)
    ));
    Domain { zone: None, certificate: Issuance::Absent, ..Domain::unknown(name) }
}

pub(super) fn instance_types(config: &Config) -> BTreeSet<String> {
    config.services.values().map(|service| service.instance_type.to_string()).collect()
}
