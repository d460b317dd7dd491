//! The condition keys of a request.

use std::collections::BTreeMap;

use kit::ACCOUNT;
use kit::call::Need;

/// The condition keys of a request, for conditions and policy variables. Names are case-insensitive.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    pub(super) values: BTreeMap<String, Vec<String>>,
    /// Whether the caller is a service. On AWS, a service also names the resource it acts for (`SOURCES`).
    pub(super) by_service: bool,
    /// Whether all tags of the resource are known.
    pub(super) has_tags: bool,
    /// Whether all keys are known: those of a simulated request are given.
    pub(super) is_whole: bool,
}

/// The condition keys that are computed here, in lower case: a request that lacks one also lacks it on AWS. A key that
/// is in none of these lists is unknown.
const COMPUTED: &[&str] = &[
    "acm:domainnames",
    "acm:keyalgorithm",
    "acm:validationmethod",
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:securetransport",
    "aws:sourceip",
    "aws:viaawsservice",
    "aws:userid",
    "dynamodb:select",
    "iam:passedtoservice",
    "kms:resourcealiases",
    "kms:viaservice",
    "route53:changeresourcerecordsetsactions",
    "route53:changeresourcerecordsetsnormalizedrecordnames",
    "route53:changeresourcerecordsetsrecordtypes",
    "s3:delimiter",
    "s3:max-keys",
    "s3:prefix",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-bucket-namespace",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-storage-class",
    "sts:externalid",
    "sts:rolesessionname",
];

const EC2: &str = "ec2.amazonaws.com";

/// Keys that no request has here, nor would have on AWS in the same setup: there is no organization, VPC endpoint,
/// federation or MFA, roles have no user names, and only services call on behalf of others (IAM user guide, "AWS global
/// condition context keys").
const NEVER_THERE: &[&str] = &[
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:sourceidentity",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:username",
    "aws:vpcsourceip",
];

/// Keys that only services set, about the resource they act for.
const SOURCES: &[&str] = &["aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"];

/// The prefix of the keys of the resource's tags.
const RESOURCE_TAG: &str = "aws:resourcetag/";

/// The prefix of the keys of the caller's tags, followed by the tag key. All tags of the caller are known.
const PRINCIPAL_TAG: &str = "aws:principaltag/";

impl Keys {
    /// Whether this key is either computed here or known to be absent.
    pub(super) fn knows(&self, key: &str) -> bool {
        let key = key.to_ascii_lowercase();
        let is_in = |list: &[&str]| list.contains(&key.as_str());
        let is_missing = is_in(NEVER_THERE) || (is_in(SOURCES) && !self.by_service);
        let is_tag = key.starts_with(PRINCIPAL_TAG) || (self.has_tags && key.starts_with(RESOURCE_TAG));
        self.is_whole || is_in(COMPUTED) || is_missing || is_tag
    }

    /// The keys of a service's request on behalf of this account. EC2 names neither account nor resource when it assumes
    /// the role of an instance (docs/aws.md §6.1).
    pub(super) fn of_service(service: &str) -> Keys {
        let mut keys = Keys { by_service: service != EC2, ..Keys::default() };
        if keys.by_service {
            keys.set("aws:SourceAccount", ACCOUNT);
        }
        keys
    }

    /// The same, for a service that needs something for a resource, given by its ARN. Services use HTTPS.
    pub(super) fn of_service_for(service: &str, source: &str, need: &Need) -> Keys {
        let mut keys = Keys::of_service(service);
        keys.set("aws:SourceArn", source);
        keys.set("aws:SecureTransport", "true");
        for (key, value) in &need.keys {
            keys.add(key, value);
        }
        keys
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.values.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Adds a value of a key, which may have several.
    pub(super) fn add(&mut self, key: &str, value: &str) {
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value.to_owned());
    }

    pub(super) fn all(&self, key: &str) -> &[String] {
        self.values.get(&key.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that has exactly one; a policy variable cannot refer to a multivalued key.
    pub(super) fn one(&self, key: &str) -> Option<String> {
        match self.all(key) {
            [one] => Some(one.clone()),
            _ => None,
        }
    }
}
