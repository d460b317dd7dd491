//! Checksums that clients send, and their verification.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::body::Body;
use super::xml::element;
use kit::answer::Refusal;
use kit::call::Request;

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// The header, trailer or query parameter with a checksum of this algorithm.
    pub(super) fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The algorithm with this case-insensitive name.
    pub(super) fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The checksum of these bytes in Base64, as in headers and documents.
    pub(super) fn text_of(self, bytes: &[u8]) -> String {
        BASE64_STANDARD.encode(self.of(bytes))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The name of the XML element for it.
    pub(super) fn element(self) -> String {
        format!("Checksum{}", self.name())
    }

    /// The checksum of two concatenated pieces, from those of each and the length of the second, if the algorithm
    /// allows it.
    fn combined(self, one: &[u8], two: &[u8], length: u64) -> Option<Vec<u8>> {
        let crc = match self {
            Algorithm::Crc32 => Crc32IsoHdlc,
            Algorithm::Crc32c => Crc32Iscsi,
            Algorithm::Crc64Nvme => Crc64Nvme,
            Algorithm::Sha1 | Algorithm::Sha256 => return None,
        };
        let number = |sum: &[u8]| sum.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let sum = crc_fast::checksum_combine(crc, number(one), number(two), length).to_be_bytes();
        Some(sum[8 - one.len()..].to_vec())
    }

    pub(super) fn of(self, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = self.hasher();
        hasher.take(bytes);
        hasher.end()
    }

    pub(super) fn hasher(self) -> Hasher {
        match self {
            Algorithm::Crc32 => Hasher::Crc(Box::new(crc_fast::Digest::new(Crc32IsoHdlc)), 4),
            Algorithm::Crc32c => Hasher::Crc(Box::new(crc_fast::Digest::new(Crc32Iscsi)), 4),
            Algorithm::Crc64Nvme => Hasher::Crc(Box::new(crc_fast::Digest::new(Crc64Nvme)), 8),
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
        }
    }

    /// The algorithms to compute for an upload: those that its head announces, in headers or as trailers. If there are
    /// none, S3's default for an object, and for a part those that its multipart upload may use.
    pub(super) fn wanted(head: &Request, is_part: bool) -> Vec<Algorithm> {
        let trailers = head.header("x-amz-trailer").unwrap_or_default();
        let is_announced = |algorithm: &Algorithm| {
            let name = algorithm.header();
            let in_trailer = trailers.split(',').any(|trailer| trailer.trim().eq_ignore_ascii_case(name));
            in_trailer || head.header(name).is_some() || head.has(name)
        };
        let announced: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(is_announced).collect();
        match (announced.is_empty(), is_part) {
            (false, _) => announced,
            (true, false) => vec![Algorithm::Crc64Nvme],
            // The others require a value from the client.
            (true, true) => vec![Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme],
        }
    }
}

/// A checksum that is being computed.
pub(super) enum Hasher {
    /// The digest, which is always 64 bits long, and how many bytes at its end are the checksum.
    Crc(Box<crc_fast::Digest>, usize),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Crc(digest, _) => digest.update(bytes),
            Hasher::Sha1(digest) => digest.update(bytes),
            Hasher::Sha256(digest) => digest.update(bytes),
        }
    }

    pub(super) fn end(self) -> Vec<u8> {
        match self {
            Hasher::Crc(digest, size) => digest.finalize().to_be_bytes()[8 - size..].to_vec(),
            Hasher::Sha1(digest) => digest.finalize().to_vec(),
            Hasher::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

/// The MD5 and some checksums of a stream of bytes.
pub(super) struct Digests {
    md5: Md5,
    checksums: Vec<(Algorithm, Hasher)>,
}

impl Digests {
    pub(super) fn of(algorithms: Vec<Algorithm>) -> Digests {
        let checksums = algorithms.into_iter().map(|algorithm| (algorithm, algorithm.hasher())).collect();
        Digests { md5: Md5::new(), checksums }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.checksums.iter_mut().for_each(|(_, hasher)| hasher.take(bytes));
    }

    /// The MD5, and the checksums by their headers.
    pub(super) fn end(self) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
        let checksums = self.checksums.into_iter().map(|(algorithm, hasher)| (algorithm.header(), hasher.end()));
        (self.md5.finalize().to_vec(), checksums.collect())
    }
}

/// A checksum of an object or a part, as answers carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub algorithm: Algorithm,
    /// In Base64. If it is composite, the number of parts follows.
    pub value: String,
}

impl Sum {
    /// A checksum with these bytes.
    pub(super) fn new(algorithm: Algorithm, sum: &[u8]) -> Sum {
        Sum { algorithm, value: BASE64_STANDARD.encode(sum) }
    }

    #[cfg(test)]
    pub(super) fn of(algorithm: Algorithm, bytes: &[u8]) -> Sum {
        Sum::new(algorithm, &algorithm.of(bytes))
    }

    /// The composite checksum, which is computed from those of the parts.
    pub(super) fn composite(algorithm: Algorithm, parts: &[&Sum]) -> Option<Sum> {
        let sums: Vec<Vec<u8>> = parts.iter().map(|part| part.bytes(algorithm)).collect::<Option<_>>()?;
        let value = format!("{}-{}", algorithm.text_of(&sums.concat()), parts.len());
        Some(Sum { algorithm, value })
    }

    /// The checksum of all bytes, computed from those of the parts and their sizes.
    pub(super) fn whole(algorithm: Algorithm, parts: &[(&Sum, u64)]) -> Option<Sum> {
        let mut sum = algorithm.of(b"");
        for (part, size) in parts {
            sum = algorithm.combined(&sum, &part.bytes(algorithm)?, *size)?;
        }
        Some(Sum::new(algorithm, &sum))
    }

    fn bytes(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        if self.algorithm == algorithm { BASE64_STANDARD.decode(&self.value).ok() } else { None }
    }

    /// The checksum type: whether it is composite.
    pub(super) fn kind(&self) -> &'static str {
        if self.value.contains('-') { "COMPOSITE" } else { "FULL_OBJECT" }
    }

    pub(super) fn xml(&self) -> String {
        element(&self.algorithm.element(), &self.value)
    }

    /// The elements for the checksum and its type.
    pub(super) fn xml_of_object(&self) -> String {
        self.xml() + &element("ChecksumType", self.kind())
    }

    /// Sets the header for it.
    pub(super) fn write(&self, headers: &mut http::HeaderMap) {
        super::metadata::set(headers, self.algorithm.header(), &self.value);
    }

    /// Sets the headers for it and for its type.
    pub(super) fn write_of_object(&self, headers: &mut http::HeaderMap) {
        self.write(headers);
        super::metadata::set(headers, "x-amz-checksum-type", self.kind());
    }
}

/// A checksum that a client has announced.
#[derive(Debug, PartialEq)]
pub(super) struct Checksum {
    pub algorithm: Algorithm,
    value: Vec<u8>,
}

impl Checksum {
    /// The checksum that a request announces in a header, or in the query of a presigned URL.
    pub(super) fn announced(request: &Request) -> Result<Option<Checksum>, Refusal> {
        let mut announced = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let name = algorithm.header();
            Some((algorithm, request.header(name).map(str::to_owned).or_else(|| request.parameter(name))?))
        });
        let Some((algorithm, value)) = announced.next() else {
            return match request.header("x-amz-sdk-checksum-algorithm") {
                Some(_) if request.method == http::Method::PUT && request.query.is_empty() => Err(without_value()),
                _ => Ok(None),
            };
        };
        if announced.next().is_some() {
            let text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(Refusal::new(400, "InvalidRequest", text));
        }
        let length = algorithm.of(b"").len();
        match BASE64_STANDARD.decode(value) {
            Ok(value) if value.len() == length => Ok(Some(Checksum { algorithm, value })),
            _ => {
                let text = format!("Value for {} header is invalid.", algorithm.header());
                Err(Refusal::new(400, "InvalidRequest", text))
            }
        }
    }

    pub(super) fn sum(&self) -> Sum {
        Sum::new(self.algorithm, &self.value)
    }

    /// Compares it with `found`, the checksum of the bytes that were received.
    pub(super) fn check(&self, found: &[u8]) -> Result<(), Refusal> {
        if found == self.value {
            return Ok(());
        }
        let text = format!("The {} you specified did not match the calculated checksum.", self.algorithm.name());
        Err(Refusal::new(400, "BadDigest", text))
    }
}

fn without_value() -> Refusal {
    let text = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.";
    Refusal::new(400, "InvalidRequest", text)
}

pub(super) fn without_checksum() -> Refusal {
    Refusal::new(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
}

/// Checks `Content-MD5`, the older kind of checksum.
pub(super) fn check_md5(request: &Request, body: &Body) -> Result<(), Refusal> {
    let Some(announced) = request.header("content-md5") else {
        return Ok(());
    };
    match BASE64_STANDARD.decode(announced) {
        Ok(md5) if md5 == body.md5() => Ok(()),
        Ok(md5) if md5.len() == 16 => {
            Err(Refusal::new(400, "BadDigest", "The Content-MD5 you specified did not match what we received."))
        }
        _ => Err(Refusal::new(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_parts_become_the_sum_of_the_whole() {
        let parts: [&[u8]; 3] = [b"1234", b"", b"56789"];
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let sums: Vec<(Sum, u64)> =
                parts.iter().map(|part| (Sum::of(algorithm, part), part.len() as u64)).collect();
            let parts: Vec<(&Sum, u64)> = sums.iter().map(|(sum, size)| (sum, *size)).collect();
            assert_eq!(Sum::whole(algorithm, &parts), Some(Sum::of(algorithm, b"123456789")));
        }
        let sums = [Sum::of(Algorithm::Sha256, b"1"), Sum::of(Algorithm::Sha256, b"2")];
        assert_eq!(Sum::whole(Algorithm::Sha256, &[(&sums[0], 1)]), None);
        let composite = Sum::composite(Algorithm::Sha256, &[&sums[0], &sums[1]]).unwrap();
        assert!(composite.value.ends_with("=-2") && composite.kind() == "COMPOSITE", "{composite:?}");
        assert_eq!(Sum::composite(Algorithm::Sha1, &[&sums[0]]), None);
    }
}
