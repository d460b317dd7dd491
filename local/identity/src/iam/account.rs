//! The summary of the account, and its alias.

use kit::query::{Params, Xml};

use super::Answer;
use super::state::State;

pub(super) fn account_summary(state: &State, _params: &Params) -> Answer {
    let counts = [
        ("InstanceProfiles", state.instance_profiles.len()),
        ("Policies", state.policies.len()),
        ("Roles", state.roles.len()),
    ];
    let all = QUOTAS.iter().chain(&counts).chain(ABSENT.iter());
    let mut xml = Xml::new();
    xml.within("SummaryMap", |xml| {
        for (key, value) in all {
            xml.within("entry", |xml| {
                xml.text("key", key).text("value", value);
            });
        }
    });
    Ok(xml)
}

/// The quotas of a new account (`API:iam.GetAccountSummary`).
const QUOTAS: &[(&str, usize)] = &[
    ("AccessKeysPerUserQuota", 2),
    ("AssumeRolePolicySizeQuota", 2048),
    ("AttachedPoliciesPerGroupQuota", 10),
    ("AttachedPoliciesPerRoleQuota", 10),
    ("AttachedPoliciesPerUserQuota", 10),
    ("GlobalEndpointTokenVersion", 1),
    ("GroupPolicySizeQuota", 5120),
    ("GroupsPerUserQuota", 10),
    ("GroupsQuota", 300),
    ("InstanceProfilesQuota", 1000),
    ("PoliciesQuota", 1500),
    ("PolicySizeQuota", 6144),
    ("PolicyVersionsInUseQuota", 10000),
    ("RolePolicySizeQuota", 10240),
    ("RolesQuota", 1000),
    ("ServerCertificatesQuota", 20),
    ("SigningCertificatesPerUserQuota", 2),
    ("UserPolicySizeQuota", 2048),
    ("UsersQuota", 5000),
    ("VersionsPerPolicyQuota", 5),
];

/// Counts of things that do not exist here.
const ABSENT: &[(&str, usize)] = &[
    ("AccountAccessKeysPresent", 0),
    ("AccountMFAEnabled", 0),
    ("AccountSigningCertificatesPresent", 0),
    ("Groups", 0),
    ("MFADevices", 0),
    ("MFADevicesInUse", 0),
    ("Providers", 0),
    ("ServerCertificates", 0),
    ("Users", 0),
];

pub(super) fn account_aliases(_state: &State, _params: &Params) -> Answer {
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).within("AccountAliases", |_| ());
    Ok(xml)
}
