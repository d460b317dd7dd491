//! The domain of a service before its stack: the hosted zone that holds it, its delegation in DNS, and how far the
//! certificate has got.

use super::{
    aws::Aws,
    dns::{self, NameServers},
    zones::{self, Zone},
};
use crate::{
    engine::Fault,
    kinds::certificate::{Certificate, Issuance},
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
    /// The state of our certificate; `Issued` for one that `stack.yaml` names.
    pub certificate: Issuance,
}

/// Whether DNS leads to a hosted zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// DNS leads to the zone.
    Complete,
    /// DNS leads to other name servers, or to none.
    Missing {
        /// The name servers of the hosted zone.
        wanted: Vec<String>,
        /// The name servers in DNS.
        there: Vec<String>,
    },
    /// DNS leads to the zone, but its NS records delegate a subdomain elsewhere.
    Cut {
        /// The name that has them: the domain, or one between it and the zone.
        at: String,
        /// The name servers that they lead to.
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
            certificate: Issuance::Issued,
        }
    }

    /// Whether a hosted zone of the account is known to hold it.
    pub fn is_in_known_zone(&self) -> bool {
        self.zone.as_ref().is_some_and(|zone| !zone.id.is_empty())
    }

    /// Finds out about a domain. With `has_own`, `stack.yaml` names an existing certificate.
    pub async fn discover(aws: &Aws, stack: &str, name: &str, has_own: bool) -> Result<Domain, Fault> {
        let certificate = async {
            match has_own {
                true => Ok(Issuance::Issued),
                false => Certificate::of(stack, name).issuance(aws).await,
            }
        };
        let (found, certificate) = futures::try_join!(zone(aws, name), certificate)?;
        let (zone, delegation) = found.map_or((None, Delegation::Unknown), |(zone, known)| (Some(zone), known));
        Ok(Domain { name: name.into(), zone, delegation, certificate })
    }

    /// Whether HTTPS can be served, by now or, with `waits`, as soon as ACM has validated the domain.
    pub fn is_served(&self, waits: bool) -> bool {
        let is_reachable = self.zone.is_some() && self.delegation.is_possible();
        self.certificate == Issuance::Issued || (waits && is_reachable)
    }
}

/// An error in the delegation of a hosted zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misled {
    /// The error.
    pub error: String,
    /// The remedy.
    pub remedy: String,
    /// The name servers that the remedy refers to.
    pub servers: Vec<String>,
}

impl Delegation {
    /// The error in the delegation of this zone, if one is known.
    pub fn error(&self, zone: &Zone) -> Option<Misled> {
        let Zone { id, name } = zone;
        match self {
            Delegation::Missing { wanted, there } => {
                let known = match there.is_empty() {
                    true => "has no working name servers for it".to_owned(),
                    false => format!("has {}", there.join(", ")),
                };
                Some(Misled {
                    error: format!("DNS does not lead to hosted zone {name} ({id}): it {known}"),
                    remedy: format!("enter these name servers at the registrar of {name}, or in the zone above it"),
                    servers: wanted.clone(),
                })
            }
            Delegation::Cut { at, there } => Some(Misled {
                error: format!("NS records in hosted zone {name} lead {at} to {}", there.join(", ")),
                remedy: format!("delete them, or create a public hosted zone {at} with those name servers"),
                servers: Vec::new(),
            }),
            Delegation::Complete | Delegation::Unknown => None,
        }
    }

    /// Whether clients can find records of the domain in the zone, as far as we know.
    fn is_possible(&self) -> bool {
        !matches!(self, Delegation::Missing { .. } | Delegation::Cut { .. })
    }
}

/// Finds the zone that holds a domain. Of several with the same name, DNS leads to one at most.
async fn zone(aws: &Aws, domain: &str) -> Result<Option<(Zone, Delegation)>, Fault> {
    let mut first = None;
    for zone in zones::holding(aws, domain).await? {
        let mut delegation = delegation(aws, &zone).await?;
        let leads_here = delegation == Delegation::Complete;
        if delegation.is_possible()
            && let Some(cut) = cut(aws, &zone, domain).await?
        {
            delegation = cut;
        }
        if leads_here {
            return Ok(Some((zone, delegation)));
        }
        first = first.or(Some((zone, delegation)));
    }
    Ok(first)
}

async fn delegation(aws: &Aws, zone: &Zone) -> Result<Delegation, Fault> {
    let (wanted, own) = futures::try_join!(zones::name_servers(aws, zone), zones::led_to(aws, zone, &zone.name))?;
    Ok(compared(wanted, &own, dns::name_servers(&zone.name, &aws.resolvers().await).await))
}

/// Compares the name servers of a zone with those in DNS. Each of these must answer for the zone. The NS records of the
/// zone itself may give them other names (docs/aws.md §9.8).
fn compared(wanted: Vec<String>, own: &[String], known: NameServers) -> Delegation {
    match known {
        NameServers::Unknown => Delegation::Unknown,
        NameServers::Named(there) if there.iter().all(|name| wanted.contains(name) || own.contains(name)) => {
            Delegation::Complete
        }
        NameServers::Named(there) => Delegation::Missing { wanted, there },
        NameServers::None => Delegation::Missing { wanted, there: Vec::new() },
    }
}

/// The NS records of a zone that lead elsewhere for a domain, if there are any.
async fn cut(aws: &Aws, zone: &Zone, domain: &str) -> Result<Option<Delegation>, Fault> {
    for at in below(&zone.name, domain) {
        let there = zones::led_to(aws, zone, at).await?;
        if !there.is_empty() {
            return Ok(Some(Delegation::Cut { at: at.to_owned(), there }));
        }
    }
    Ok(None)
}

/// The names below a zone on the way to a domain in it, and the domain.
fn below<'a>(zone: &str, domain: &'a str) -> Vec<&'a str> {
    let parent = |name: &&'a str| name.split_once('.').map(|(_, parent)| parent);
    let mut names: Vec<&str> = std::iter::successors(Some(domain), parent).take_while(|name| *name != zone).collect();
    names.reverse();
    names
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
            assert_eq!(compared(wanted(), &[], known.clone()), delegation, "{known:?}");
        }
        let own = names(&["ns1.example.org", "ns2.example.org"]);
        assert_eq!(compared(wanted(), &own, NameServers::Named(own.clone())), Delegation::Complete);
        assert_eq!(compared(wanted(), &own, NameServers::Named(names(&["ns.x.net"]))), missing(&["ns.x.net"]));
    }

    #[test]
    fn a_cut_is_searched_between_the_zone_and_the_domain() {
        let all = below("example.org", "app.dev.example.org");
        assert_eq!(all, ["dev.example.org", "app.dev.example.org"]);
        assert_eq!(below("example.org", "example.org"), [""; 0]);
    }

    #[test]
    fn https_is_served_with_an_issued_certificate_or_a_zone_that_dns_leads_to() {
        let missing = Delegation::Missing { wanted: Vec::new(), there: Vec::new() };
        let (pending, zone) = (Issuance::Pending(None), Some(Zone { id: "Z1".into(), name: "example.org".into() }));
        for (certificate, zone, delegation, now, later) in [
            (Issuance::Issued, None, Delegation::Unknown, true, true),
            (pending.clone(), None, Delegation::Unknown, false, false),
            (pending.clone(), zone.clone(), Delegation::Complete, false, true),
            (pending.clone(), zone.clone(), Delegation::Unknown, false, true),
            (pending.clone(), zone.clone(), missing.clone(), false, false),
            (pending, zone.clone(), Delegation::Cut { at: "app.example.org".into(), there: Vec::new() }, false, false),
            (Issuance::Absent, zone.clone(), Delegation::Complete, false, true),
            (Issuance::Issued, zone, missing, true, true),
        ] {
            let domain = Domain { name: "app.example.org".into(), zone, delegation, certificate };
            assert_eq!((domain.is_served(false), domain.is_served(true)), (now, later), "{domain:?}");
        }
    }
}
