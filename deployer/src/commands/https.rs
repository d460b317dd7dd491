//! What HTTPS of a service waits for, and what to do about it.

use super::Session;
use crate::{
    cloud::domains::{Delegation, Domain},
    engine::Outputs,
    kinds::certificate::{Progress, Record},
    output::report,
    page::{Front, Https, Page},
};

/// Names what keeps DNS or ACM from serving the domains, before anything is changed.
pub fn warn(session: &Session) {
    for (service, domain) in session.network.iter().flat_map(|network| &network.domains) {
        named(service, domain).iter().for_each(report::say);
    }
}

fn named(service: &str, domain: &Domain) -> Vec<String> {
    let mut lines = delegation(service, domain);
    if let Progress::Failed(reason) = &domain.certificate {
        lines.push(format!("{service}: ACM did not issue the certificate for {}: {reason}", domain.name));
        lines.push("  `deployer up` requests another one".into());
    }
    lines
}

/// Says what the services that are not served over HTTPS yet wait for, and for those that are, the record to enter by hand
/// if its value may be new.
pub fn say_pending(page: &Page, outputs: &Outputs, may_be_new: impl Fn(&Front) -> bool) {
    for front in &page.services {
        let Some(Https { domain: Some(domain), certificate, listener }) = &front.https else { continue };
        let host = outputs.get(front.balancer).map(|balancer| balancer.dns_name);
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

/// The same for `why`: what the domains of these services, by their paths in `stack.yaml`, wait for.
pub fn explain(page: &Page, chosen: &[String]) {
    for front in page.services.iter().filter(|front| chosen.contains(&front.address().section)) {
        let Some(Https { domain: Some(domain), .. }) = &front.https else { continue };
        named(&front.name, domain).iter().for_each(|line| report::line(line));
        if !domain.is_served(false) {
            pending(&front.name, domain, None, None).iter().for_each(|line| report::line(line));
        } else if domain.zone.is_none() {
            report::line(&format!("{}: no public hosted zone of this account holds {}", front.name, domain.name));
            report::line("  its DNS needs the record to the load balancer that `deployer outputs` prints");
        }
    }
}

/// What HTTPS of a service waits for.
fn pending(service: &str, domain: &Domain, record: Option<Record>, host: Option<String>) -> Vec<String> {
    let record = record.or_else(|| match &domain.certificate {
        Progress::Pending(record) => record.clone(),
        _ => None,
    });
    let state = match &domain.certificate {
        Progress::Failed(reason) => format!("ACM did not issue its certificate: {reason}"),
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
        Some(host) => lines.push(format!("    {domain}  CNAME  {host}")),
        None => lines.push("    a record to the load balancer, which `deployer up` prints".into()),
    }
    lines.push("  (ALIAS or ANAME in place of the second CNAME for the name of a whole zone)".into());
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

/// What is wrong with the delegation of a domain's zone.
fn delegation(service: &str, domain: &Domain) -> Vec<String> {
    let Some(zone) = &domain.zone else { return Vec::new() };
    let (wanted, there) = match &domain.delegation {
        Delegation::Missing { wanted, there } => (wanted, there),
        Delegation::Cut { at, there } => {
            let name = &zone.name;
            return vec![
                format!("{service}: NS records in hosted zone {name} lead {at} to {}", there.join(", ")),
                format!("  delete them, or create a public hosted zone {at} with those name servers"),
            ];
        }
        Delegation::Complete | Delegation::Unknown => return Vec::new(),
    };
    let known = match there.is_empty() {
        true => "has no working name servers for it".to_owned(),
        false => format!("has {}", there.join(", ")),
    };
    let mut lines = vec![
        format!("{service}: DNS does not lead to hosted zone {} ({}): it {known}", zone.name, zone.id),
        format!("  enter these name servers at the registrar of {}, or in the zone above it:", zone.name),
    ];
    lines.extend(wanted.iter().map(|server| format!("    {}  NS  {server}", zone.name)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::zones::Zone;

    fn domain(delegation: Delegation) -> Domain {
        let zone = Some(Zone { id: "Z1".into(), name: "example.org".into() });
        Domain { name: "app.example.org".into(), zone, delegation, certificate: Progress::Pending(None) }
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
        let failed = Domain { certificate: Progress::Failed("CAA_ERROR: why".into()), ..domain(Delegation::Complete) };
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
        assert!(unknown.contains("which `deployer up` prints"), "{unknown}");
    }
}
