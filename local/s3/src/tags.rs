//! Validates tags of buckets and objects.

use super::NAMESPACE;
use super::request::S3Request;
use super::xml::{Element, element, malformed, wrap};
use kit::answer::Refusal;
use kit::tags::{Flaw, Rules, STRICT};

/// The kind of resource that is tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Bucket,
    Object,
}

/// Parses and validates the tags in a `TagSet` or in `Tags`.
pub(super) fn read(set: &Element, of: Of) -> Result<Vec<(String, String)>, Refusal> {
    set.expect(&["Tag*"], &[])?;
    let tags = set.children.iter().map(|tag| {
        let tag = tag.expect(&["Key", "Value"], &[])?;
        Ok((tag.need("Key")?.to_owned(), tag.need("Value")?.to_owned()))
    });
    let tags: Vec<(String, String)> = tags.collect::<Result<_, Refusal>>()?;
    check(of, &tags).map_err(|flaw| refusal(&flaw, of))?;
    Ok(tags)
}

/// Parses and validates the tags in a `Tagging` document.
pub(super) fn of_document(body: &[u8], of: Of) -> Result<Vec<(String, String)>, Refusal> {
    let document = Element::read(body, "Tagging")?;
    read(document.expect(&["TagSet"], &[])?.child("TagSet").ok_or_else(malformed)?, of)
}

/// A `Tagging` document.
pub(super) fn document(tags: &[(String, String)]) -> String {
    let tags: String =
        tags.iter().map(|(key, value)| wrap("Tag", &(element("Key", key) + &element("Value", value)))).collect();
    format!("<Tagging xmlns=\"{NAMESPACE}\">{}</Tagging>", wrap("TagSet", &tags))
}

/// The tags in the `x-amz-tagging` header of an upload, which is form-encoded.
pub(super) fn of_header(request: &S3Request) -> Result<Vec<(String, String)>, Refusal> {
    let tags = request.header("x-amz-tagging").unwrap_or_default();
    let tags: Vec<(String, String)> = url::form_urlencoded::parse(tags.as_bytes()).into_owned().collect();
    check(Of::Object, &tags).map_err(|flaw| match flaw {
        Flaw::Twice(_) => {
            let text = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.";
            Refusal::new(400, "InvalidArgument", text)
        }
        flaw => refusal(&flaw, Of::Object),
    })?;
    Ok(tags)
}

fn check(of: Of, tags: &[(String, String)]) -> Result<(), Flaw> {
    let most = match of {
        Of::Bucket => 50,
        Of::Object => 10,
    };
    Rules { most, ..STRICT }.check(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())), [])
}

/// The errors of S3, worded as in observed responses (`ISS:versity/versitygw#1214`, `#1232`, `#1204`,
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
        let tags: Vec<_> = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        super::document(&tags)
    }

    #[test]
    fn invalid_tag_documents_and_headers_are_refused_with_the_errors_of_s3() {
        let said = |body: &str, of: Of| of_document(body.as_bytes(), of).err().map(|refusal| refusal.message);
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
            assert_eq!(of_document(b"<Tagging></Tagging>", of).unwrap_err().code, "MalformedXML");
            assert_eq!(said("<Tagging><TagSet/></Tagging>", of), None);
        }
    }
}
