//! The tags of buckets and objects, before they are kept.

use serde::Deserialize;

use super::bucket::malformed;
use crate::answer::Refusal;
use crate::call::Request;
use crate::tags::{Flaw, Rules, STRICT};

/// What is tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Bucket,
    Object,
}

/// A list of tags in a document.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Tags {
    #[serde(default, rename = "Tag")]
    pub tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagging {
    tag_set: Tags,
}

impl Tags {
    /// Refuses tags that a bucket or an object cannot have.
    pub(super) fn check(&self, of: Of) -> Result<(), Refusal> {
        check(of, self.tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str()))).map_err(|flaw| refusal(&flaw, of))
    }
}

/// Refuses a `Tagging` document with tags that a bucket or an object cannot have, or none at all.
pub(super) fn check_document(body: &[u8], of: Of) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(body);
    let Tagging { tag_set } = quick_xml::de::from_str(&text).map_err(|_| malformed())?;
    tag_set.check(of)
}

/// Refuses an upload with tags that no object can have.
pub(super) fn check_header(request: &Request) -> Result<(), Refusal> {
    let tags = request.header("x-amz-tagging").unwrap_or_default();
    let pairs: Vec<_> = url::form_urlencoded::parse(tags.as_bytes()).collect();
    let checked = check(Of::Object, pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref())));
    checked.map_err(|flaw| match flaw {
        Flaw::Twice(_) => {
            let text = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.";
            Refusal::new(400, "InvalidArgument", text)
        }
        flaw => refusal(&flaw, Of::Object),
    })
}

fn check<'a>(of: Of, tags: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Flaw> {
    let most = match of {
        Of::Bucket => 50,
        Of::Object => 10,
    };
    Rules { most, ..STRICT }.check(tags, [])
}

/// The words of S3, as they were seen in its answers (`ISS:versity/versitygw#1214`, `#1232`, `#1204`,
/// `ISS:getmoto/moto#2855`, `ISS:cloud-custodian/cloud-custodian#370`).
fn refusal(flaw: &Flaw, of: Of) -> Refusal {
    let invalid = |text: &str| Refusal::new(400, "InvalidTag", text);
    match (flaw, of) {
        (Flaw::Key(..), _) => invalid("The TagKey you have provided is invalid"),
        (Flaw::Value(..), _) => invalid("The TagValue you have provided is invalid"),
        (Flaw::Twice(_), _) => invalid("Cannot provide multiple Tags with the same key"),
        (Flaw::Reserved(_), Of::Bucket) => invalid("System tags cannot be added/updated by requester"),
        (Flaw::Reserved(_), Of::Object) => invalid("Your TagKey cannot be prefixed with aws:"),
        (Flaw::TooMany, Of::Bucket) => Refusal::new(400, "BadRequest", "Bucket tag count cannot be greater than 50"),
        (Flaw::TooMany, Of::Object) => Refusal::new(400, "BadRequest", "Object tags cannot be greater than 10"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tags: &[(&str, &str)]) -> String {
        super::super::bucket::tagging(tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn documents_and_headers_are_refused_in_the_words_of_s3() {
        let said = |body: &str, of: Of| check_document(body.as_bytes(), of).err().map(|refusal| refusal.message);
        let tags: Vec<String> = (0..51).map(|number| format!("k{number}")).collect();
        let many = |count: usize| document(&tags[..count].iter().map(|key| (key.as_str(), "")).collect::<Vec<_>>());
        for (of, most, too_many, reserved) in [
            (
                Of::Bucket,
                50,
                "Bucket tag count cannot be greater than 50",
                "System tags cannot be added/updated by requester",
            ),
            (Of::Object, 10, "Object tags cannot be greater than 10", "Your TagKey cannot be prefixed with aws:"),
        ] {
            assert_eq!(said(&many(most), of), None);
            assert_eq!(said(&many(most + 1), of).unwrap(), too_many);
            assert_eq!(said(&document(&[("aws:a", "b")]), of).unwrap(), reserved);
            let twice = document(&[("a", "b"), ("a", "c")]);
            assert_eq!(said(&twice, of).unwrap(), "Cannot provide multiple Tags with the same key");
            assert_eq!(said(&document(&[("", "b")]), of).unwrap(), "The TagKey you have provided is invalid");
            assert_eq!(said(&document(&[("a", "(b)")]), of).unwrap(), "The TagValue you have provided is invalid");
            assert_eq!(check_document(b"<Tagging></Tagging>", of).unwrap_err().code, "MalformedXML");
            assert_eq!(said("<Tagging><TagSet/></Tagging>", of), None);
        }
    }
}
