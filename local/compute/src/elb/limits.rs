//! Account limits.

use crate::Site;
use crate::state::State;
use kit::query::{Answer, Params, Xml};

/// The quotas of a new account (Application Load Balancers user guide, "Quotas").
const LIMITS: &[(&str, u32)] = &[
    ("application-load-balancers", 50),
    ("certificates-per-application-load-balancer", 25),
    ("condition-values-per-alb-rule", 5),
    ("condition-wildcards-per-alb-rule", 6),
    ("listeners-per-application-load-balancer", 50),
    ("rules-per-application-load-balancer", 100),
    ("target-groups", 3000),
    ("target-groups-per-action-on-application-load-balancer", 5),
    ("target-groups-per-application-load-balancer", 100),
    ("targets-per-application-load-balancer", 1000),
    ("targets-per-availability-zone-per-network-load-balancer", 500),
];

pub fn describe(_state: &State, _site: &Site, _params: &Params) -> Answer {
    let mut xml = Xml::new();
    xml.members("Limits", LIMITS, |xml, (name, most)| {
        xml.text("Name", name).text("Max", most);
    });
    Ok(xml)
}
