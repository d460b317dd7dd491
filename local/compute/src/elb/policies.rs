//! Security policies of HTTPS listeners: versions of TLS and ciphers (docs/aws.md §9.5).

use crate::Site;
use crate::state::State;
use kit::query::{Answer, ApiError, NOT_IMPLEMENTED, Params, Xml};

/// The policy of a listener for which none is specified.
pub const DEFAULT: &str = "ELBSecurityPolicy-2016-08";

/// A security policy.
pub struct SslPolicy {
    pub name: &'static str,
    pub protocols: &'static [&'static str],
    groups: &'static [&'static [&'static str]],
}

const TLS_1_3: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const GCM: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];
const CBC: &[&str] =
    &["ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384"];
const CBC_SHA1: &[&str] =
    &["ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"];
const RSA: &[&str] = &["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"];
const RSA_SHA1: &[&str] = &["AES128-SHA", "AES256-SHA"];

const V1_0: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2"];
const V1_1: &[&str] = &["TLSv1.1", "TLSv1.2"];
const V1_2: &[&str] = &["TLSv1.2"];
const V1_3: &[&str] = &["TLSv1.3"];
const V1_0_TO_3: &[&str] = &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const V1_1_TO_3: &[&str] = &["TLSv1.1", "TLSv1.2", "TLSv1.3"];
const V1_2_TO_3: &[&str] = &["TLSv1.2", "TLSv1.3"];

const EVERY: &[&[&str]] = &[TLS_1_3, GCM, CBC, CBC_SHA1, RSA, RSA_SHA1];
const OLD: &[&[&str]] = &[GCM, CBC, CBC_SHA1, RSA, RSA_SHA1];

const fn policy(
    name: &'static str,
    protocols: &'static [&'static str],
    groups: &'static [&'static [&'static str]],
) -> SslPolicy {
    SslPolicy { name, protocols, groups }
}

/// Every policy, except those for FIPS and RFC 9151, which are not implemented.
const POLICIES: &[SslPolicy] = &[
    policy("ELBSecurityPolicy-2016-08", V1_0, OLD),
    policy("ELBSecurityPolicy-FS-1-1-2019-08", V1_1, &[GCM, CBC, CBC_SHA1]),
    policy("ELBSecurityPolicy-FS-1-2-2019-08", V1_2, &[GCM, CBC, CBC_SHA1]),
    policy("ELBSecurityPolicy-FS-1-2-Res-2019-08", V1_2, &[GCM, CBC]),
    policy("ELBSecurityPolicy-FS-1-2-Res-2020-10", V1_2, &[GCM]),
    policy("ELBSecurityPolicy-FS-2018-06", V1_0, &[GCM, CBC, CBC_SHA1]),
    policy("ELBSecurityPolicy-TLS-1-1-2017-01", V1_1, OLD),
    policy("ELBSecurityPolicy-TLS-1-2-2017-01", V1_2, &[GCM, CBC, RSA]),
    policy("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", V1_2, OLD),
    policy("ELBSecurityPolicy-TLS13-1-0-2021-06", V1_0_TO_3, EVERY),
    policy("ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", V1_0_TO_3, EVERY),
    policy("ELBSecurityPolicy-TLS13-1-1-2021-06", V1_1_TO_3, EVERY),
    policy("ELBSecurityPolicy-TLS13-1-2-2021-06", V1_2_TO_3, &[TLS_1_3, GCM, CBC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", V1_2_TO_3, &[TLS_1_3, GCM, CBC, RSA]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", V1_2_TO_3, &[TLS_1_3, GCM, CBC, RSA]),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", V1_2_TO_3, EVERY),
    policy("ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", V1_2_TO_3, EVERY),
    policy("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", V1_2_TO_3, &[TLS_1_3, GCM, CBC]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", V1_2_TO_3, &[TLS_1_3, GCM]),
    policy("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", V1_2_TO_3, &[TLS_1_3, GCM]),
    policy("ELBSecurityPolicy-TLS13-1-3-2021-06", V1_3, &[TLS_1_3]),
    policy("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", V1_3, &[TLS_1_3]),
];

impl SslPolicy {
    /// Returns the policy with a name.
    pub fn find(name: &str) -> Option<&'static SslPolicy> {
        POLICIES.iter().find(|policy| policy.name == name)
    }

    /// Returns the policy with a name. Errors: `SSLPolicyNotFound`.
    pub fn required(name: &str) -> Result<&'static SslPolicy, ApiError> {
        if name.contains("-FIPS-") || name.contains("RFC9151") {
            return Err(ApiError::new(NOT_IMPLEMENTED, format!("the local AWS does not implement the policy {name}")));
        }
        SslPolicy::find(name)
            .ok_or_else(|| ApiError::new("SSLPolicyNotFound", format!("SSL policy '{name}' not found")))
    }

    /// Returns its ciphers, the preferred ones first.
    pub fn ciphers(&self) -> impl Iterator<Item = &'static str> {
        self.groups.iter().copied().flatten().copied()
    }
}

pub fn describe(_state: &State, _site: &Site, params: &Params) -> Answer {
    let names = params.texts("Names");
    let chosen: Vec<&SslPolicy> = match names.is_empty() {
        true => POLICIES.iter().collect(),
        false => names.iter().map(|name| SslPolicy::required(name)).collect::<Result<_, ApiError>>()?,
    };
    let mut xml = Xml::new();
    xml.members("SslPolicies", chosen, |xml, policy| {
        xml.text("Name", policy.name).names("SslProtocols", policy.protocols);
        xml.members("Ciphers", policy.ciphers().enumerate(), |xml, (at, cipher)| {
            xml.text("Name", cipher).text("Priority", at + 1);
        });
        xml.names("SupportedLoadBalancerTypes", ["application"]);
    });
    Ok(xml)
}
