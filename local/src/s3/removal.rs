//! Deletions, one by one and many at once (aws-facts §4.5), and what functions hear of them.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::bucket::malformed;
use super::versions::{NULL, Removed, marked, of_version};
use super::{NAMESPACE, S3, object_arn, refusal_in};
use crate::answer::{Refusal, Response, empty, escape, xml};
use crate::call::Request;
use crate::permissions::{Caller, Denial, object_need};

/// The tag of no bytes at all, which is what a delete marker has.
const ETAG_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default, rename = "Object")]
    objects: Vec<Doomed>,
    #[serde(default)]
    quiet: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Doomed {
    key: String,
    version_id: Option<String>,
}

impl Doomed {
    fn version(&self) -> Option<&str> {
        self.version_id.as_deref().filter(|version| !version.is_empty())
    }
}

impl S3 {
    /// `DeleteObject`, whose turn has come.
    pub(super) async fn delete_object(&self, bucket: &str, key: &str, request: &Request) -> Result<Response, Refusal> {
        let version = request.parameter("versionId").filter(|version| !version.is_empty());
        let removed = self.remove(bucket, &[(key, version.as_deref())]).await?;
        let answer = empty(204);
        Ok(match removed.first() {
            Some(Removed::Object(Some(id))) => of_version(answer, id),
            Some(Removed::Marker(id) | Removed::Hidden(id)) => marked(answer, id),
            _ => answer,
        })
    }

    pub(super) async fn delete_objects(
        &self,
        bucket: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Response, Refusal> {
        let text = String::from_utf8_lossy(&request.body);
        let mut delete: Delete = quick_xml::de::from_str(&text).map_err(|_| malformed())?;
        if delete.objects.is_empty() || delete.objects.len() > 1000 {
            return Err(malformed());
        }
        let denied = refuse_some(&mut delete.objects, bucket, caller);
        let doomed: Vec<(&str, Option<&str>)> =
            delete.objects.iter().map(|one| (one.key.as_str(), one.version())).collect();
        let keys: Vec<&str> = doomed.iter().map(|(key, _)| *key).collect();
        let _turn = self.turns.writing(bucket, &keys).await;
        let removed = self.remove(bucket, &doomed).await?;
        let mut told = String::new();
        if !delete.quiet {
            delete.objects.iter().zip(&removed).for_each(|(one, removed)| told += &deleted(one, removed));
        }
        denied.iter().for_each(|(one, denial)| told += &error(one, denial));
        let mut answer = xml(200, format!("<DeleteResult xmlns=\"{NAMESPACE}\">{told}</DeleteResult>"));
        if let Some((_, first)) = denied.first() {
            first.mark(&mut answer);
        }
        Ok(answer)
    }

    /// Deletes all of these and tells the functions that wait for it.
    async fn remove(&self, bucket: &str, doomed: &[(&str, Option<&str>)]) -> Result<Vec<Removed>, Refusal> {
        let removed = match self.versioning(bucket).await {
            Some(versioning) => self.remove_versions(bucket, doomed, versioning).await?,
            None => {
                let mut removed = Vec::with_capacity(doomed.len());
                for (key, version) in doomed {
                    removed.push(self.remove_plain(bucket, key, *version).await?);
                }
                removed
            }
        };
        for ((key, _), removed) in doomed.iter().zip(&removed) {
            self.announce_removal(bucket, key, removed).await?;
        }
        Ok(removed)
    }

    /// Deletes from a bucket without versions, in which every object is its own null version.
    async fn remove_plain(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Removed, Refusal> {
        let call = |method| self.sub_call(method, bucket, Some(key), "", Bytes::new());
        if version.is_some_and(|version| version != NULL) || !call(Method::HEAD).await.status().is_success() {
            return Ok(Removed::Nothing);
        }
        let answer = call(Method::DELETE).await;
        if answer.status().is_success() { Ok(Removed::Object(None)) } else { Err(refusal_in(&answer)) }
    }

    /// Nobody hears of what was not there, and of delete markers only that they came ("Supported event types").
    async fn announce_removal(&self, bucket: &str, key: &str, removed: &Removed) -> Result<(), Refusal> {
        let (event, facts) = match removed {
            Removed::Nothing | Removed::Marker(_) => return Ok(()),
            Removed::Object(None) => ("ObjectRemoved:Delete", json!({})),
            Removed::Object(Some(id)) => ("ObjectRemoved:Delete", json!({ "versionId": id })),
            Removed::Hidden(id) => {
                ("ObjectRemoved:DeleteMarkerCreated", json!({ "eTag": ETAG_OF_NOTHING, "versionId": id }))
            }
        };
        let waiting = self.waiting(event, bucket, key).await;
        self.announce(&waiting, event, bucket, key, &facts).await
    }
}

/// Takes out the objects that the caller may not delete: each has its own answer (aws-facts §4.5).
fn refuse_some(objects: &mut Vec<Doomed>, bucket: &str, caller: &Caller) -> Vec<(Doomed, Denial)> {
    let mut denied = Vec::new();
    for doomed in std::mem::take(objects) {
        let version = doomed.version().map(str::to_owned);
        match caller.may(&object_need("DeleteObject", &object_arn(bucket, &doomed.key), version)) {
            Ok(()) => objects.push(doomed),
            Err(denial) => denied.push((doomed, denial)),
        }
    }
    denied
}

/// What is told of an object that is deleted, or was not there.
fn deleted(one: &Doomed, removed: &Removed) -> String {
    let version = one.version().map(|id| format!("<VersionId>{}</VersionId>", escape(id))).unwrap_or_default();
    let marker = match removed {
        Removed::Marker(id) | Removed::Hidden(id) => {
            format!("<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>{}</DeleteMarkerVersionId>", escape(id))
        }
        Removed::Nothing | Removed::Object(_) => String::new(),
    };
    format!("<Deleted><Key>{}</Key>{version}{marker}</Deleted>", escape(&one.key))
}

fn error(one: &Doomed, denial: &Denial) -> String {
    let (key, text) = (escape(&one.key), escape(&denial.text()));
    format!("<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>{text}</Message></Error>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_told_with_its_versions() {
        let one = |version: &str| Doomed { key: "a&b".into(), version_id: Some(version.into()) };
        for (asked, removed, told) in [
            ("", Removed::Object(None), ""),
            ("v", Removed::Object(Some("v".into())), "<VersionId>v</VersionId>"),
            ("v", Removed::Nothing, "<VersionId>v</VersionId>"),
            (
                "",
                Removed::Hidden("m".into()),
                "<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId>",
            ),
            (
                "m",
                Removed::Marker("m".into()),
                "<VersionId>m</VersionId><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId>",
            ),
        ] {
            assert_eq!(deleted(&one(asked), &removed), format!("<Deleted><Key>a&amp;b</Key>{told}</Deleted>"));
        }
    }
}
