//! What clients say about the bytes they send, so that none of them changes on the way.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::answer::Refusal;
use crate::call::Request;

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

    /// The header, trailer or parameter that announces it.
    pub(super) fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The one with this name, in whatever case.
    pub(super) fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// What it makes of these bytes, as it stands in headers and documents.
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

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        // A sum of 32 bits is the lower half of what the crate gives.
        match self {
            Algorithm::Crc32 => crc_fast::checksum(Crc32IsoHdlc, bytes).to_be_bytes()[4..].to_vec(),
            Algorithm::Crc32c => crc_fast::checksum(Crc32Iscsi, bytes).to_be_bytes()[4..].to_vec(),
            Algorithm::Crc64Nvme => crc_fast::checksum(Crc64Nvme, bytes).to_be_bytes().to_vec(),
            Algorithm::Sha1 => Sha1::digest(bytes).to_vec(),
            Algorithm::Sha256 => Sha256::digest(bytes).to_vec(),
        }
    }
}

/// A checksum that a client has announced.
#[derive(Debug, PartialEq)]
pub(super) struct Checksum {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Checksum {
    /// The one that a request announces in a header, or in the query of a presigned URL.
    pub(super) fn announced(request: &Request) -> Result<Option<Checksum>, Refusal> {
        let mut announced = Algorithm::ALL.into_iter().filter_map(|algorithm| {
            let name = algorithm.header();
            Some((algorithm, request.header(name).map(str::to_owned).or_else(|| request.parameter(name))?))
        });
        let Some((algorithm, value)) = announced.next() else {
            return Ok(None);
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

    /// Refuses other bytes than those it was computed of.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.algorithm.of(bytes) == self.value {
            return Ok(());
        }
        let text = format!("The {} you specified did not match the calculated checksum.", self.algorithm.name());
        Err(Refusal::new(400, "BadDigest", text))
    }
}

/// The older way: `Content-MD5`.
pub(super) fn check_md5(request: &Request, bytes: &[u8]) -> Result<(), Refusal> {
    let Some(announced) = request.header("content-md5") else {
        return Ok(());
    };
    match BASE64_STANDARD.decode(announced) {
        Ok(md5) if md5 == Md5::digest(bytes).as_slice() => Ok(()),
        Ok(md5) if md5.len() == 16 => {
            Err(Refusal::new(400, "BadDigest", "The Content-MD5 you specified did not match what we received."))
        }
        _ => Err(Refusal::new(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")),
    }
}
