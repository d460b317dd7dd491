//! Account limits and TLS policies.

use crate::Site;
use crate::state::State;
use kit::query::{Answer, ApiError, Params, Xml};

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

const TLS_1_3: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const FORWARD_SECRET: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];
const WITH_CBC: &[&str] =
    &["ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384"];
const OLD: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA256",
    "AES256-SHA",
];

/// Name, protocols, ciphers (Application Load Balancers user guide, "Security policies").
type Policy = (&'static str, &'static [&'static str], &'static [&'static [&'static str]]);

/// Commonly used policies. They are only listed: without TLS here, no listener can use one.
const POLICIES: &[Policy] = &[
    ("ELBSecurityPolicy-2016-08", &["TLSv1", "TLSv1.1", "TLSv1.2"], &[FORWARD_SECRET, WITH_CBC, OLD]),
    ("ELBSecurityPolicy-TLS13-1-2-2021-06", &["TLSv1.2", "TLSv1.3"], &[TLS_1_3, FORWARD_SECRET, WITH_CBC]),
    ("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", &["TLSv1.2", "TLSv1.3"], &[TLS_1_3, FORWARD_SECRET]),
    ("ELBSecurityPolicy-TLS13-1-3-2021-06", &["TLSv1.3"], &[TLS_1_3]),
];

pub fn describe_policies(_state: &State, _site: &Site, params: &Params) -> Answer {
    let names = params.texts("Names");
    if let Some(unknown) = names.iter().find(|name| !POLICIES.iter().any(|(known, ..)| known == name)) {
        return Err(ApiError::new("SSLPolicyNotFound", format!("SSL policy '{unknown}' not found")));
    }
    let chosen = POLICIES.iter().filter(|(name, ..)| names.is_empty() || names.iter().any(|one| one == name));
    let mut xml = Xml::new();
    xml.members("SslPolicies", chosen, |xml, (name, protocols, ciphers)| {
        xml.text("Name", name).names("SslProtocols", *protocols);
        xml.members("Ciphers", ciphers.iter().copied().flatten().enumerate(), |xml, (at, cipher)| {
            xml.text("Name", cipher).text("Priority", at + 1);
        });
        xml.names("SupportedLoadBalancerTypes", ["application"]);
    });
    Ok(xml)
}
