//! The names of the resources of a stack, known before anything is read.

use super::{
    Layout,
    user_data::{self},
};
use crate::{
    cloud::{
        health,
        site::Site,
        why::{FunctionNames, Reports, ServiceNames},
    },
    config::{self, Config},
    kinds::elastic_address::ElasticAddress,
    package::programs::Programs,
};

/// The resources of a stack, by the names that are known before anything is read.
pub struct ResourceNames {
    /// The artifact bucket.
    pub anchor: String,
    /// The services.
    pub services: Vec<ServiceNames>,
    /// The functions.
    pub functions: Vec<FunctionNames>,
    /// The buckets: the name in `stack.yaml`, and the name in the account.
    pub buckets: Vec<(String, String)>,
    /// The tables, in the same way.
    pub tables: Vec<(String, String)>,
}

/// Names everything that a stack runs and holds.
pub fn resource_names(config: &Config, site: &Site) -> ResourceNames {
    let programs = Programs::none();
    let page = Layout::begin(config, site, &programs, health::Wait::No);
    let names = &page.names;
    ResourceNames {
        anchor: names.artifacts(),
        services: config.services.iter().map(|(entry, service)| page.service_names(entry.as_str(), service)).collect(),
        functions: page.function_names(),
        buckets: config.buckets.keys().map(|entry| (entry.to_string(), names.bucket(entry.as_str()))).collect(),
        tables: config.tables.keys().map(|entry| (entry.to_string(), names.plain(entry.as_str()))).collect(),
    }
}

impl Layout<'_> {
    /// The names for the diagnosis of a service.
    pub(super) fn service_names(&self, entry: &str, wanted: &config::Service) -> ServiceNames {
        let at_port = self.at_port(entry, wanted);
        let (front_entry, front) = self.config.front(entry, wanted);
        let port = u16::from(if wanted.is_direct { wanted.port } else { front.load_balancer.port });
        ServiceNames {
            service: entry.into(),
            group: at_port.clone(),
            target_group: at_port,
            balancer: self.names.plain(&front.entry_in_names(front_entry)),
            behind: wanted.behind.clone(),
            template: self.names.plain(entry),
            front_port: port.into(),
            domain: front.domain.clone(),
            port: wanted.port.into(),
            path: wanted.health_check.path.clone(),
            matcher: wanted.health_check.matcher.clone(),
            address: wanted.is_direct.then(|| ElasticAddress::of(self.config.name.as_str(), entry)),
            grace_s: wanted.grace_period_s.into(),
            instance_type: wanted.instance_type.to_string(),
            reports: self.reports(entry),
            log_group: self.names.service_log_group(entry),
        }
    }

    /// A service, with the location of its reports.
    pub(super) fn reporting(&self, entry: &str) -> (String, Reports) {
        (entry.to_owned(), self.reports(entry))
    }

    pub(super) fn reports(&self, entry: &str) -> Reports {
        Reports { bucket: self.names.artifacts(), prefix: user_data::reports_prefix(entry) }
    }

    /// The names for the diagnosis of all functions.
    pub(super) fn function_names(&self) -> Vec<FunctionNames> {
        self.config.functions.keys().map(|entry| self.names_of_function(entry.as_str())).collect()
    }

    /// The names for the diagnosis of a function.
    fn names_of_function(&self, entry: &str) -> FunctionNames {
        let notifies =
            |bucket: &config::Bucket| bucket.on_upload.as_ref().is_some_and(|it| it.function.as_str() == entry);
        let buckets = self.config.buckets.iter().filter(|(_, bucket)| notifies(bucket));
        FunctionNames {
            entry: entry.into(),
            name: self.names.plain(entry),
            log_group: self.names.log_group(entry),
            buckets: buckets.map(|(bucket, _)| self.names.bucket(bucket.as_str())).collect(),
            concurrency: self.config.functions.get(entry).and_then(|function| function.concurrency).map(Into::into),
        }
    }
}
