//! The bucket settings that have no module of their own: a table of documents, validated before they are stored.

use super::metadata::{check_encryption, set};
use super::notification;
use super::request::S3Request;
use super::store::{BucketSettings, Change, Versioning};
use super::xml::{self, Element, element, malformed, unserved};
use super::{S3, cors, lifecycle, tags};
use kit::answer::{Refusal, Response, empty, xml as answer};

pub(super) const OWNERSHIP: &str = "ownershipControls";
pub(super) const OWNERSHIPS: &[&str] = &["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"];
pub(super) const TAGGING: &str = "tagging";
pub(super) const BLOCKS: &[&str] =
    &["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
const NOTIFICATION: &str = "notification";

/// A setting that is an XML document.
struct Setting {
    /// The query parameter that names it.
    name: &'static str,
    root: &'static str,
    /// Refuses a document that is invalid, or that uses a feature not implemented here.
    check: fn(&Element) -> Result<(), Refusal>,
    absent: Absent,
}

/// The response if the setting is absent.
enum Absent {
    Refused(&'static str, &'static str),
    /// A document with these contents.
    Default(&'static str),
}

use Absent::{Default as Usual, Refused};

const SETTINGS: &[Setting] = &[
    Setting {
        name: "accelerate",
        root: "AccelerateConfiguration",
        check: |document| only(document, "Status", "Suspended", "Enabled"),
        absent: Usual(""),
    },
    Setting {
        name: "cors",
        root: "CORSConfiguration",
        check: |document| cors::rules(document).map(drop),
        absent: Refused("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    },
    // Every bucket is encrypted, whether requested or not (docs/aws.md §4.1).
    Setting {
        name: "encryption",
        root: "ServerSideEncryptionConfiguration",
        check: encryption,
        absent: Usual(
            "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>",
        ),
    },
    Setting {
        name: "lifecycle",
        root: "LifecycleConfiguration",
        check: |document| lifecycle::rules(document).map(drop),
        absent: Refused("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    },
    Setting {
        name: "logging",
        root: "BucketLoggingStatus",
        check: |document| document.expect(&[], &["LoggingEnabled"]).map(drop),
        absent: Usual(""),
    },
    Setting {
        name: OWNERSHIP,
        root: "OwnershipControls",
        check: ownership,
        absent: Refused("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
    },
    Setting {
        name: "publicAccessBlock",
        root: "PublicAccessBlockConfiguration",
        check: blocks,
        absent: Refused("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"),
    },
    Setting {
        name: "replication",
        root: "ReplicationConfiguration",
        check: |_| Err(unserved("replication")),
        absent: Refused("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
    },
    Setting {
        name: "requestPayment",
        root: "RequestPaymentConfiguration",
        check: |document| only(document, "Payer", "BucketOwner", "Requester"),
        absent: Usual("<Payer>BucketOwner</Payer>"),
    },
    Setting {
        name: TAGGING,
        root: "Tagging",
        check: |document| {
            let set = document.expect(&["TagSet"], &[])?.child("TagSet").ok_or_else(malformed)?;
            tags::read(set, tags::Of::Bucket).map(drop)
        },
        absent: Refused("NoSuchTagSet", "The TagSet does not exist"),
    },
    Setting {
        name: "website",
        root: "WebsiteConfiguration",
        check: |_| Err(unserved("a website")),
        absent: Refused("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    },
];

/// Configurations that no bucket can have here, with the root element of their list.
const REPORTS: &[(&str, &str)] = &[
    ("analytics", "ListBucketAnalyticsConfigurationResult"),
    ("intelligent-tiering", "ListBucketIntelligentTieringConfigurationsOutput"),
    ("inventory", "ListInventoryConfigurationsResult"),
    ("metrics", "ListMetricsConfigurationsResult"),
];

fn setting(request: &S3Request) -> Result<&'static Setting, Refusal> {
    SETTINGS.iter().find(|setting| setting.name == request.row.flag).ok_or_else(|| unserved(request.row.flag))
}

/// Checks a document with one member, of which one value changes nothing and another is not implemented.
fn only(document: &Element, member: &str, nothing: &str, unknown: &str) -> Result<(), Refusal> {
    match document.expect(&[member], &[])?.need(member)? {
        value if value == nothing => Ok(()),
        value if value == unknown => Err(unserved(&format!("{member} {value}"))),
        _ => Err(malformed()),
    }
}

fn encryption(document: &Element) -> Result<(), Refusal> {
    let rule = document.expect(&["Rule"], &[])?.child("Rule").ok_or_else(malformed)?;
    rule.expect(&["ApplyServerSideEncryptionByDefault", "BucketKeyEnabled"], &["BlockedEncryptionTypes"])?;
    rule.flag("BucketKeyEnabled")?;
    let default = rule.child("ApplyServerSideEncryptionByDefault").ok_or_else(malformed)?;
    let algorithm = default.expect(&["SSEAlgorithm", "KMSMasterKeyID"], &[])?.need("SSEAlgorithm")?;
    let is_kms = KMS.contains(&algorithm);
    if !is_kms {
        check_encryption(Some(algorithm)).map_err(|_| malformed())?;
    }
    match default.get("KMSMasterKeyID") {
        Some("") => Err(malformed()),
        // Whether the key exists shows when an object is written.
        Some(_) if is_kms => Ok(()),
        Some(_) => {
            let text = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse";
            Err(Refusal::new(400, "InvalidArgument", text))
        }
        None => Ok(()),
    }
}

/// Algorithms that use keys of KMS.
const KMS: &[&str] = &["aws:kms", "aws:kms:dsse"];

fn ownership(document: &Element) -> Result<(), Refusal> {
    let rule = document.expect(&["Rule"], &[])?.child("Rule").ok_or_else(malformed)?;
    rule.expect(&["ObjectOwnership"], &[])?.one_of("ObjectOwnership", OWNERSHIPS)?.ok_or_else(malformed)?;
    Ok(())
}

fn blocks(document: &Element) -> Result<(), Refusal> {
    document.expect(BLOCKS, &[])?;
    BLOCKS.iter().try_for_each(|name| document.flag(name).map(drop))
}

impl BucketSettings {
    pub(super) fn is_owner_enforced(&self) -> bool {
        self.documents.get(OWNERSHIP).is_some_and(|text| text.contains(">BucketOwnerEnforced<"))
    }

    /// Whether this kind of public access is blocked.
    pub(super) fn blocks(&self, way: &str) -> bool {
        let text = self.documents.get("publicAccessBlock");
        let document = text.and_then(|text| Element::read(text.as_bytes(), "PublicAccessBlockConfiguration").ok());
        document.and_then(|document| document.flag(way).ok().flatten()).unwrap_or(false)
    }

    pub(super) fn notifications(&self) -> Vec<notification::Notification> {
        let text = self.documents.get(NOTIFICATION).map(String::as_bytes).unwrap_or_default();
        let document = Element::read(text, "NotificationConfiguration");
        document.and_then(|document| notification::read(&document)).unwrap_or_default()
    }
}

/// The header with the default minimum object size for lifecycle transitions.
const SIZES: &str = "x-amz-transition-default-minimum-object-size";
const DEFAULT_SIZES: &str = "all_storage_classes_128K";

impl S3 {
    /// Changes the settings of a bucket.
    pub(super) fn settle(
        &self,
        request: &S3Request,
        change: impl FnOnce(&mut BucketSettings) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.store.change(|state, _| {
            let mut settings = state.bucket(&request.bucket)?.settings.clone();
            change(&mut settings)?;
            Ok((vec![Change::Settings { bucket: request.bucket.clone(), settings }], ()))
        })
    }

    pub(super) fn put_setting(&self, request: &S3Request) -> Result<Response, Refusal> {
        let setting = setting(request)?;
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        if let Some(sizes) = request.header(SIZES).filter(|sizes| *sizes != DEFAULT_SIZES) {
            return Err(unserved(&format!("{SIZES}: {sizes}")));
        }
        let document = Element::read(&request.http.body, setting.root)?;
        (setting.check)(&document)?;
        let document = match setting.name {
            "lifecycle" => lifecycle::with_ids(document),
            _ => document,
        };
        // Putting no tags removes the tag set.
        let is_empty = setting.name == TAGGING && document.children.iter().all(|set| set.children.is_empty());
        self.settle(request, |settings| {
            match is_empty {
                true => settings.documents.remove(setting.name),
                false => settings.documents.insert(setting.name.to_owned(), document.document()),
            };
            Ok(())
        })?;
        let mut response = empty(if setting.name == TAGGING { 204 } else { 200 });
        if setting.name == "lifecycle" {
            set(response.headers_mut(), SIZES, DEFAULT_SIZES);
        }
        Ok(response)
    }

    pub(super) fn get_setting(&self, request: &S3Request) -> Result<Response, Refusal> {
        let setting = setting(request)?;
        let kept = |state: &super::store::State| {
            Ok::<_, Refusal>(state.bucket(&request.bucket)?.settings.documents.get(setting.name).cloned())
        };
        let mut response = match (self.store.read(kept)?, &setting.absent) {
            (Some(text), _) => answer(200, text),
            (None, Usual(inside)) => xml::document(setting.root, inside),
            (None, Refused(code, text)) => return Err(Refusal::new(404, code, *text)),
        };
        if setting.name == "lifecycle" {
            set(response.headers_mut(), SIZES, DEFAULT_SIZES);
        }
        Ok(response)
    }

    /// Gets one configuration by its ID, or lists all of them: there are none.
    pub(super) fn get_report(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        if request.parameter("id").is_some() {
            return Err(Refusal::new(404, "NoSuchConfiguration", "The specified configuration does not exist."));
        }
        let list = REPORTS.iter().find(|(flag, _)| *flag == request.row.flag).map(|(_, list)| *list);
        let list = list.ok_or_else(|| unserved(request.row.flag))?;
        Ok(xml::document(list, &element("IsTruncated", "false")))
    }

    pub(super) fn delete_setting(&self, request: &S3Request) -> Result<Response, Refusal> {
        let setting = setting(request)?;
        self.settle(request, |settings| {
            settings.documents.remove(setting.name);
            Ok(())
        })?;
        Ok(empty(204))
    }

    pub(super) fn put_versioning(&self, request: &S3Request) -> Result<Response, Refusal> {
        self.store.read(|state| state.bucket(&request.bucket).map(drop))?;
        let document = Element::read(&request.http.body, "VersioningConfiguration")?;
        document.expect(&["Status", "MfaDelete"], &[])?;
        if document.one_of("MfaDelete", &["Enabled", "Disabled"])? == Some("Enabled") {
            return Err(unserved("MfaDelete"));
        }
        let illegal = || {
            let text = "The Versioning element must be specified";
            Refusal::new(400, "IllegalVersioningConfigurationException", text)
        };
        let wanted = match document.get("Status").ok_or_else(illegal)? {
            "Enabled" => Versioning::Enabled,
            "Suspended" => Versioning::Suspended,
            _ => return Err(malformed()),
        };
        self.settle(request, |settings| {
            if settings.lock.is_some() && wanted == Versioning::Suspended {
                let text = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
                return Err(Refusal::new(409, "InvalidBucketState", text));
            }
            settings.versioning = Some(wanted);
            Ok(())
        })?;
        Ok(empty(200))
    }

    pub(super) fn get_versioning(&self, request: &S3Request) -> Result<Response, Refusal> {
        let versioning =
            self.store.read(|state| Ok::<_, Refusal>(state.bucket(&request.bucket)?.settings.versioning))?;
        let status = versioning.map(|versioning| match versioning {
            Versioning::Enabled => element("Status", "Enabled"),
            Versioning::Suspended => element("Status", "Suspended"),
        });
        Ok(xml::document("VersioningConfiguration", &status.unwrap_or_default()))
    }

    pub(super) fn put_notifications(&self, request: &S3Request) -> Result<Response, Refusal> {
        let before =
            self.store.read(|state| Ok::<_, Refusal>(state.bucket(&request.bucket)?.settings.notifications()))?;
        let wanted = notification::read(&Element::read(&request.http.body, "NotificationConfiguration")?)?;
        notification::check(&wanted)?;
        if request.header("x-amz-skip-destination-validation") != Some("true") {
            let source = super::bucket_arn(&request.bucket);
            for one in &wanted {
                if !self.lambda.permits(&one.function, "s3.amazonaws.com", &source) {
                    let text = "Unable to validate the following destination configurations";
                    return Err(Refusal::new(400, "InvalidArgument", text));
                }
            }
        }
        self.propagation.changed(&request.bucket, before);
        self.settle(request, |settings| {
            settings.documents.insert(NOTIFICATION.to_owned(), notification::write(&wanted));
            Ok(())
        })?;
        Ok(empty(200))
    }

    pub(super) fn get_notifications(&self, request: &S3Request) -> Result<Response, Refusal> {
        let notifications =
            self.store.read(|state| Ok::<_, Refusal>(state.bucket(&request.bucket)?.settings.notifications()))?;
        Ok(answer(200, notification::write(&notifications)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::wrap;

    fn code(name: &str, inside: &str) -> Option<String> {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
        let text = wrap(setting.root, inside);
        let read = Element::read(text.as_bytes(), setting.root).and_then(|document| (setting.check)(&document));
        read.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_document_is_carried_out_or_refused() {
        let sse =
            |name: &str| wrap("Rule", &wrap("ApplyServerSideEncryptionByDefault", &element("SSEAlgorithm", name)));
        for (name, inside, expected) in [
            ("accelerate", "<Status>Suspended</Status>", None),
            ("accelerate", "<Status>Enabled</Status>", Some("NotImplemented")),
            ("accelerate", "<Status>On</Status>", Some("MalformedXML")),
            ("encryption", &sse("AES256"), None),
            ("encryption", &sse("aws:kms"), None),
            ("encryption", &sse("aws:kms").replace("</A", "<KMSMasterKeyID>k</KMSMasterKeyID></A"), None),
            (
                "encryption",
                &sse("AES256").replace("</A", "<KMSMasterKeyID>k</KMSMasterKeyID></A"),
                Some("InvalidArgument"),
            ),
            ("encryption", &sse("ROT13"), Some("MalformedXML")),
            ("logging", "", None),
            ("logging", "<LoggingEnabled/>", Some("NotImplemented")),
            ("ownershipControls", "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>", None),
            ("ownershipControls", "<Rule><ObjectOwnership>Nobody</ObjectOwnership></Rule>", Some("MalformedXML")),
            ("publicAccessBlock", "<BlockPublicAcls>true</BlockPublicAcls>", None),
            ("publicAccessBlock", "<BlockPublicAcls>yes</BlockPublicAcls>", Some("MalformedXML")),
            ("publicAccessBlock", "<BlockAll>true</BlockAll>", Some("MalformedXML")),
            ("replication", "", Some("NotImplemented")),
            ("requestPayment", "<Payer>BucketOwner</Payer>", None),
            ("requestPayment", "<Payer>Requester</Payer>", Some("NotImplemented")),
            ("tagging", "<TagSet/>", None),
            ("tagging", "", Some("MalformedXML")),
            ("website", "<IndexDocument/>", Some("NotImplemented")),
        ] {
            assert_eq!(code(name, inside).as_deref(), expected, "{name}: {inside}");
        }
    }
}
