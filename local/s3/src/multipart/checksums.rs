//! The checksums of an upload and of its parts.

use crate::body::Body;
use crate::checksum::{Algorithm, Sum};
use crate::request::S3Request;
use crate::store::{ChecksumType, MultipartUpload, Part};
use crate::xml::{element, unserved};
use kit::answer::Refusal;

pub(super) const ALGORITHM: &str = "x-amz-checksum-algorithm";
pub(super) const CHECKSUM_TYPE: &str = "x-amz-checksum-type";

impl ChecksumType {
    pub(super) fn name(self) -> &'static str {
        match self {
            ChecksumType::Composite => "COMPOSITE",
            ChecksumType::FullObject => "FULL_OBJECT",
        }
    }
}

impl MultipartUpload {
    /// The elements about its checksums in a list.
    pub(super) fn checksums(&self) -> String {
        self.algorithm.map_or_else(String::new, |(algorithm, kind)| {
            element("ChecksumAlgorithm", algorithm.name()) + &element("ChecksumType", kind.name())
        })
    }
}

pub(super) fn bad_digest(algorithm: Algorithm) -> Refusal {
    let text = format!("The {} you specified did not match the calculated checksum.", algorithm.name());
    Refusal::new(400, "BadDigest", text)
}

/// The checksum of a part. It must be of its upload's algorithm; an upload without an algorithm accepts any.
pub(super) fn sum_of_part(
    algorithm: Option<(Algorithm, ChecksumType)>,
    announced: Option<Sum>,
    body: &Body,
    operation: &str,
) -> Result<Option<Sum>, Refusal> {
    let Some((expected, kind)) = algorithm else {
        return Ok(Some(match announced {
            Some(announced) => announced,
            None => body.sum(Algorithm::Crc64Nvme)?,
        }));
    };
    match announced {
        Some(sum) if sum.algorithm == expected => Ok(Some(sum)),
        // Copies have no announced checksum, so S3 computes it.
        None if kind == ChecksumType::FullObject || operation == "UploadPartCopy" => Ok(Some(body.sum(expected)?)),
        other => {
            let name = |algorithm: Algorithm| algorithm.name().to_ascii_lowercase();
            let actual = other.map_or_else(|| "null".to_owned(), |sum| name(sum.algorithm));
            let text = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {actual}",
                name(expected)
            );
            Err(Refusal::new(400, "InvalidRequest", text))
        }
    }
}

/// The checksum of a multipart object, if it can be computed from those of the parts.
pub(super) fn sum_of_whole(upload: &MultipartUpload, parts: &[Part]) -> Option<Sum> {
    let sums: Vec<&Sum> = parts.iter().map(|part| part.sum.as_ref()).collect::<Option<_>>()?;
    let sized = || sums.iter().zip(parts).map(|(sum, part)| (*sum, part.blob.size)).collect::<Vec<_>>();
    match upload.algorithm {
        Some((algorithm, ChecksumType::Composite)) => Sum::composite(algorithm, &sums),
        Some((algorithm, ChecksumType::FullObject)) => Sum::whole(algorithm, &sized()),
        None => Sum::whole(sums.first()?.algorithm, &sized()),
    }
}

/// The checksum algorithm of an upload, if its first request names one, and the checksum type: CRC64NVME covers only
/// the full object, SHA-1 and SHA-256 are only composite, and the others are composite by default (S3 user guide,
/// "Checking object integrity for data uploads").
pub(super) fn checksums_of(request: &S3Request) -> Result<Option<(Algorithm, ChecksumType)>, Refusal> {
    let Some(name) = request.header(ALGORITHM) else {
        return match request.header(CHECKSUM_TYPE) {
            Some(_) => Err(invalid(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.".to_owned(),
            )),
            None => Ok(None),
        };
    };
    let algorithm = Algorithm::named(name).ok_or_else(|| unknown_algorithm(name))?;
    let usual = if algorithm == Algorithm::Crc64Nvme { ChecksumType::FullObject } else { ChecksumType::Composite };
    let kind = match request.header(CHECKSUM_TYPE) {
        None => usual,
        Some(kind) if kind == usual.name() => usual,
        Some("FULL_OBJECT") if matches!(algorithm, Algorithm::Crc32 | Algorithm::Crc32c) => ChecksumType::FullObject,
        Some(kind) => {
            let name = algorithm.name().to_ascii_lowercase();
            let text = format!("The {kind} checksum type cannot be used with the {name} checksum algorithm.");
            return Err(invalid(text));
        }
    };
    Ok(Some((algorithm, kind)))
}

/// The error for an algorithm that S3 has but that is not implemented here, or that S3 does not have.
pub(crate) fn unknown_algorithm(name: &str) -> Refusal {
    const OTHERS: &[&str] = &["SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"];
    if OTHERS.contains(&name) {
        return unserved(&format!("the checksum algorithm {name}"));
    }
    let text = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]";
    invalid(text.to_owned())
}

fn invalid(text: String) -> Refusal {
    Refusal::new(400, "InvalidRequest", text)
}

/// Worded as in an observed response of S3 (`ISS:apache/opendal#4580`).
pub(super) fn without_checksum(algorithm: Algorithm, number: u32) -> Refusal {
    let name = algorithm.name().to_ascii_lowercase();
    invalid(format!(
        "The upload was created using a {name} checksum. The complete request must include the checksum for each part. It was missing for part {number} in the request."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm) -> Sum {
        Sum::of(algorithm, b"1")
    }

    #[test]
    fn the_checksum_of_a_part_is_of_its_uploads_algorithm() {
        let body = Body::Memory("1".into());
        let of =
            |upload, announced| sum_of_part(upload, announced, &body, "UploadPart").map_err(|refusal| refusal.code);
        let (crc, sha) = (Algorithm::Crc32, Algorithm::Sha256);
        assert_eq!(of(None, Some(sum(crc))), Ok(Some(sum(crc))));
        assert_eq!(of(None, None), Ok(Some(sum(Algorithm::Crc64Nvme))));
        assert_eq!(of(Some((sha, ChecksumType::Composite)), Some(sum(sha))), Ok(Some(sum(sha))));
        assert_eq!(of(Some((sha, ChecksumType::Composite)), Some(sum(crc))).unwrap_err(), "InvalidRequest");
        assert_eq!(of(Some((sha, ChecksumType::Composite)), None).unwrap_err(), "InvalidRequest");
        assert_eq!(of(Some((crc, ChecksumType::FullObject)), None), Ok(Some(sum(crc))));
        assert_eq!(unknown_algorithm("MD5").code, "NotImplemented");
        assert_eq!(unknown_algorithm("ROT13").code, "InvalidRequest");
    }
}
