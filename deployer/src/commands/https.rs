//! The reasons why a service is not served over HTTPS yet, and their remedies.

use super::Session;
use crate::{
    cloud::domains::{Domain, Misled},
    engine::Outputs,
    kinds::certificate::{Issuance, Record},
    output::report,
    page::{Front, Https, Page},
};

/// Warns of domains that DNS or ACM will not serve, before anything is changed.
pub fn warn(session: &Session) {
    for (service, domain) in domains(session) {
        named(service, domain).iter().for_each(report::say);
    }
}

/// The domains of the services that have one, by service.
fn domains(session: &Session) -> impl Iterator<Item = (&String, &Domain)> {
    session.network.iter().flat_map(|network| &network.domains)
}

fn named(service: &str, domain: &Domain) -> Vec<String> {
    let mut lines = delegation(service, domain);
    if let Issuance::Failed(reason) = &domain.certificate {
        lines.push(format!("{service}: ACM did not issue the certificate for {}: {reason}", domain.name));
        lines.push("  `deployer up` requests another one".into());
    }
    lines
}

/// Reports what keeps services from being served over HTTPS. For the others, reports the record to enter by hand if its
/// value may be new.
pub fn say_pending(page: &Page, outputs: &Outputs, may_be_new: impl Fn(&Front) -> bool) {
    for front in &page.services {
        let Some(Https { domain: Some(domain), certificate, listener }) = &front.https else { continue };
        let host = front.balancer.and_then(|balancer| outputs.get(balancer)).map(|balancer| balancer.dns_name);
        let lines = match (listener, host) {
            (None, host) => {
                let known = certificate.and_then(|certificate| outputs.get(certificate));
                pending(&front.name, domain, known.and_then(|it| it.record), host)
            }
            (Some(_), Some(host)) if domain.zone.is_none() && may_be_new(front) => address(&front.name, domain, &host),
            _ => continue,
        };
        lines.iter().for_each(report::say);
    }
}

/// The same for `why`, for services chosen by their paths in `stack.yaml`.
pub fn explain(session: &Session, chosen: &[String]) {
    for (service, domain) in domains(session).filter(|(service, _)| chosen.contains(&format!("services.{service}"))) {
        named(service, domain).iter().for_each(|line| report::line(line));
        if !domain.is_served(false) {
            pending(service, domain, None, None).iter().for_each(|line| report::line(line));
        } else if domain.zone.is_none() {
            report::line(&format!("{service}: no public hosted zone of this account holds {}", domain.name));
            report::line("  its DNS needs the record to the load balancer that `deployer outputs` prints");
        }
    }
}

/// The state of a service that is not served over HTTPS yet, with the records to enter.
fn pending(service: &str, domain: &Domain, record: Option<Record>, host: Option<String>) -> Vec<String> {
    let record = record.or_else(|| match &domain.certificate {
        Issuance::Pending(record) => record.clone(),
        _ => None,
    });
    let state = match &domain.certificate {
        Issuance::Failed(reason) => format!("ACM did not issue its certificate: {reason}"),
        _ => "its certificate is not validated".to_owned(),
    };
    let mut lines = vec![format!("{service}: https://{} is pending: {state}", domain.name)];
    if domain.zone.is_none() {
        lines.extend(to_enter(&domain.name, record, host));
    }
    lines.push("  until then it is served over HTTP; run `deployer up` again after that".into());
    lines
}

/// The records of a domain that no hosted zone of the account holds.
fn to_enter(domain: &str, record: Option<Record>, host: Option<String>) -> Vec<String> {
    let mut lines = vec![
        format!("  no public hosted zone of this account holds {domain}"),
        "  enter these records where its DNS is managed:".to_owned(),
    ];
    match record {
        Some(Record { name, value }) => lines.push(format!("    {name}  CNAME  {value}")),
        None => lines.push("    the validation record, which `deployer up` prints".into()),
    }
    match host {
        Some(host) => {
            lines.push(format!("    {domain}  CNAME  {host}"));
            lines.push("  (ALIAS or ANAME in place of the second CNAME for the name of a whole zone)".into());
        }
        None => lines.push("    a record to the load balancer, which `deployer outputs` prints".into()),
    }
    lines
}

/// The record by which a domain that no hosted zone of the account holds leads to its load balancer.
fn address(service: &str, domain: &Domain, host: &str) -> Vec<String> {
    let name = &domain.name;
    vec![
        format!("{service}: https://{name} needs this record where its DNS is managed:"),
        format!("    {name}  CNAME  {host}"),
        "  (ALIAS or ANAME in place of CNAME for the name of a whole zone)".into(),
    ]
}

/// The error in the delegation of a domain's zone, with its remedy.
fn delegation(service: &str, domain: &Domain) -> Vec<String> {
    let Some(zone) = &domain.zone else { return Vec::new() };
    let Some(Misled { error, remedy, servers }) = domain.delegation.error(zone) else { return Vec::new() };
    let colon = if servers.is_empty() { "" } else { ":" };
    let mut lines = vec![format!("{service}: {error}"), format!("  {remedy}{colon}")];
    lines.extend(servers.iter().map(|server| format!("    {}  NS  {server}", zone.name)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{domains::Delegation, zones::Zone};

    fn domain(delegation: Delegation) -> Domain {
        let zone = Some(Zone { id: "Z1".into(), name: "example.org".into() });
        Domain { name: "app.example.org".into(), zone, delegation, certificate: Issuance::Pending(None) }
    }

    #[test]
    fn a_missing_delegation_is_named_with_the_name_servers_to_enter() {
        let missing = |there: &[&str]| {
            let wanted = vec!["ns-1.awsdns.org".to_owned(), "ns-2.awsdns.com".to_owned()];
            Delegation::Missing { wanted, there: there.iter().map(|&name| name.to_owned()).collect() }
        };
        let first = |delegation| delegation_lines(delegation).first().cloned().unwrap_or_default();
        assert!(first(missing(&[])).ends_with("example.org (Z1): it has no working name servers for it"));
        assert!(first(missing(&["ns.other.net"])).ends_with("it has ns.other.net"));
        let lines = delegation_lines(missing(&[]));
        assert_eq!(lines[2..], ["    example.org  NS  ns-1.awsdns.org", "    example.org  NS  ns-2.awsdns.com"]);
        let cut = Delegation::Cut { at: "app.example.org".into(), there: vec!["ns.x.net".into()] };
        let cut = delegation_lines(cut).join("\n");
        assert!(cut.contains("NS records in hosted zone example.org lead app.example.org to ns.x.net"), "{cut}");
        for fine in [Delegation::Complete, Delegation::Unknown] {
            assert_eq!(delegation_lines(fine), [""; 0]);
        }
    }

    fn delegation_lines(it: Delegation) -> Vec<String> {
        delegation("web", &domain(it))
    }

    #[test]
    fn a_certificate_that_was_not_issued_is_named_with_the_reason() {
        let failed = Domain { certificate: Issuance::Failed("CAA_ERROR: why".into()), ..domain(Delegation::Complete) };
        let lines = pending("web", &failed, None, None);
        assert!(lines[0].ends_with("ACM did not issue its certificate: CAA_ERROR: why"), "{lines:?}");
    }

    #[test]
    fn a_domain_that_is_served_without_a_zone_needs_one_record() {
        let lines = address("web", &Domain { zone: None, ..domain(Delegation::Unknown) }, "web-1.elb.amazonaws.com");
        assert_eq!(lines[1], "    app.example.org  CNAME  web-1.elb.amazonaws.com");
    }

    #[test]
    fn without_a_zone_the_records_are_printed() {
        let record = Record { name: "_a.app.example.org".into(), value: "_b.acm-validations.aws".into() };
        let lines = to_enter("app.example.org", Some(record), Some("web-1.elb.amazonaws.com".into()));
        assert!(lines.contains(&"    _a.app.example.org  CNAME  _b.acm-validations.aws".to_owned()), "{lines:?}");
        assert!(lines.contains(&"    app.example.org  CNAME  web-1.elb.amazonaws.com".to_owned()), "{lines:?}");
        let unknown = to_enter("app.example.org", None, None).join("\n");
        assert!(unknown.contains("the validation record, which `deployer up` prints"), "{unknown}");
        assert!(unknown.contains("to the load balancer, which `deployer outputs` prints"), "{unknown}");
        assert!(!unknown.contains("the second CNAME"), "{unknown}");
    }
}
