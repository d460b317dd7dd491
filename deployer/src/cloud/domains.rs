//! The domain of a service before its stack: the hosted zone that holds it, what DNS knows of that zone, and how far the
//! certificate has got.

use super::{
    aws::Aws,
    dns::{self, NameServers},
    zones::{self, Zone},
};
use crate::{
    engine::Fault,
    kinds::certificate::{Certificate, Progress},
};

/// The domain of a service.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// The public hosted zone of the account that holds it.
    pub zone: Option<Zone>,
    /// Whether DNS leads to that zone.
    pub delegation: Delegation,
    /// How far our certificate has got; `Issued` for one that `stack.yaml` names.
    pub certificate: Progress,
}

/// Whether DNS leads to a hosted zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// It does.
    Complete,
    /// It leads to other name servers, or to none.
    Missing {
        /// The name servers of the hosted zone.
        wanted: Vec<String>,
        /// Those that DNS knows.
        there: Vec<String>,
    },
    /// No resolver answered, or there is no zone.
    Unknown,
}

impl Domain {
    /// A domain for laying out a stack without asking AWS: in a zone, so that everything is laid out.
    pub fn unknown(name: &str) -> Domain {
        Domain {
            name: name.into(),
            zone: Some(Zone { id: String::new(), name: name.into() }),
            delegation: Delegation::Unknown,
            certificate: Progress::Issued,
        }
    }

    /// Finds out about a domain. With `has_own`, `stack.yaml` names an existing certificate.
    pub async fn discover(aws: &Aws, stack: &str, name: &str, has_own: bool) -> Result<Domain, Fault> {
        let certificate = async {
            match has_own {
                true => Ok(Progress::Issued),
                false => Certificate::of(stack, name).progress(aws).await,
            }
        };
        let (found, certificate) = futures::try_join!(zone(aws, name), certificate)?;
        let (zone, delegation) = found.map_or((None, Delegation::Unknown), |(zone, known)| (Some(zone), known));
        Ok(Domain { name: name.into(), zone, delegation, certificate })
    }

    /// Whether HTTPS can be served, by now or, with `waits`, as soon as ACM has validated the domain.
    pub fn is_served(&self, waits: bool) -> bool {
        let is_reachable = self.zone.is_some() && !matches!(self.delegation, Delegation::Missing { .. });
        self.certificate == Progress::Issued || (waits && is_reachable)
    }
}

/// Finds the zone that holds a domain. Of several with the same name, DNS leads to one at most.
async fn zone(aws: &Aws, domain: &str) -> Result<Option<(Zone, Delegation)>, Fault> {
    let mut first = None;
    for zone in zones::holding(aws, domain).await? {
        let delegation = delegation(aws, &zone).await?;
        if delegation == Delegation::Complete {
            return Ok(Some((zone, delegation)));
        }
        first = first.or(Some((zone, delegation)));
    }
    Ok(first)
}

async fn delegation(aws: &Aws, zone: &Zone) -> Result<Delegation, Fault> {
    let wanted = zones::name_servers(aws, zone).await?;
    Ok(compared(wanted, dns::name_servers(&zone.name, &aws.resolvers().await).await))
}

/// Compares the name servers of a zone with those that DNS knows. Each of these must answer for the zone.
fn compared(wanted: Vec<String>, known: NameServers) -> Delegation {
    match known {
        NameServers::Unknown => Delegation::Unknown,
        NameServers::Named(there) if there.iter().all(|name| wanted.contains(name)) => Delegation::Complete,
        NameServers::Named(there) => Delegation::Missing { wanted, there },
        NameServers::None => Delegation::Missing { wanted, there: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_name_servers_of_the_zone_are_compared_with_those_of_dns() {
        let wanted = || names(&["ns-1.net", "ns-2.org"]);
        let missing = |there: &[&str]| Delegation::Missing { wanted: wanted(), there: names(there) };
        for (known, delegation) in [
            (NameServers::Named(wanted()), Delegation::Complete),
            (NameServers::Named(names(&["ns-2.org"])), Delegation::Complete),
            (NameServers::Named(names(&["ns-2.org", "ns-9.com"])), missing(&["ns-2.org", "ns-9.com"])),
            (NameServers::None, missing(&[])),
            (NameServers::Unknown, Delegation::Unknown),
        ] {
            assert_eq!(compared(wanted(), known.clone()), delegation, "{known:?}");
        }
    }

    #[test]
    fn https_is_served_with_an_issued_certificate_or_a_zone_that_dns_leads_to() {
        let missing = Delegation::Missing { wanted: Vec::new(), there: Vec::new() };
        let (pending, zone) = (Progress::Pending(None), Some(Zone { id: "Z1".into(), name: "example.org".into() }));
        for (certificate, zone, delegation, now, later) in [
            (Progress::Issued, None, Delegation::Unknown, true, true),
            (pending.clone(), None, Delegation::Unknown, false, false),
            (pending.clone(), zone.clone(), Delegation::Complete, false, true),
            (pending.clone(), zone.clone(), Delegation::Unknown, false, true),
            (pending, zone.clone(), missing.clone(), false, false),
            (Progress::Absent, zone.clone(), Delegation::Complete, false, true),
            (Progress::Issued, zone, missing, true, true),
        ] {
            let domain = Domain { name: "app.example.org".into(), zone, delegation, certificate };
            assert_eq!((domain.is_served(false), domain.is_served(true)), (now, later), "{domain:?}");
        }
    }
}
