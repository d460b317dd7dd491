//! Verifies the body of a request to S3 as it arrives, against its signed head.

use http::header::HeaderName;
use sha2::{Digest, Sha256};

use super::chain::Chain;
use super::{Signed, Words};
use kit::answer::Refusal;
use kit::call::Request;
use kit::chunked::{ChunkPiece, Decoder, Trailers};

/// The header that says how a body is signed, and whether it is `aws-chunked`.
const ANNOUNCED: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// A body that is arriving.
pub struct Payload {
    /// Set for a body in chunks.
    decoder: Option<Decoder>,
    proof: Proof,
}

/// How a body is verified.
enum Proof {
    /// The body is not signed.
    Nothing,
    /// The announced hash of the whole body, in hexadecimal, and the hash so far.
    Hash(String, Sha256),
    /// The signatures of its chunks, and of its trailers if they are signed as well.
    Chain { chain: Box<Chain>, signed_trailers: bool, words: Words },
}

/// Whether the body of a request is `aws-chunked`.
pub fn is_chunked(request: &Request) -> bool {
    request.header(ANNOUNCED.as_str()).is_some_and(|announced| announced.starts_with("STREAMING-"))
}

impl Payload {
    /// A body that is not verified.
    pub(super) fn unsigned(head: &Request) -> Payload {
        Payload::new(head, Proof::Nothing)
    }

    /// A body that is verified as its signed head announces.
    pub(super) fn of(head: &Request, signed: &Signed, key: Vec<u8>, words: Words) -> Result<Payload, Refusal> {
        let chain = |signed_trailers| {
            let Signed { date, scope, signature, .. } = signed;
            let (date, scope, last) = (date.clone(), scope.clone(), signature.clone());
            Proof::Chain {
                chain: Box::new(Chain { key, date, scope, last, chunk: Sha256::new() }),
                signed_trailers,
                words,
            }
        };
        let proof = match head.header(ANNOUNCED.as_str()) {
            None | Some("UNSIGNED-PAYLOAD" | "STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Proof::Nothing,
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD") => chain(false),
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => chain(true),
            Some(hash) if hash.len() == 64 => Proof::Hash(hash.to_owned(), Sha256::new()),
            Some(other) => {
                return Err(Refusal::new(
                    400,
                    "InvalidArgument",
                    format!(
                        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value, not {other}."
                    ),
                ));
            }
        };
        Ok(Payload::new(head, proof))
    }

    fn new(head: &Request, proof: Proof) -> Payload {
        Payload { decoder: is_chunked(head).then(Decoder::default), proof }
    }

    /// Takes bytes as they arrive, and passes the decoded ones to `keep`.
    pub fn take(&mut self, arrived: &[u8], mut keep: impl FnMut(&[u8]) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let Payload { decoder, proof } = self;
        if let Proof::Hash(_, hash) = proof {
            hash.update(arrived);
        }
        let Some(decoder) = decoder else { return keep(arrived) };
        decoder.take(arrived, |piece| {
            if let Proof::Chain { chain, words, .. } = proof {
                match piece {
                    ChunkPiece::Bytes(bytes) => chain.take(bytes),
                    ChunkPiece::End(signature) => {
                        if !chain.holds(signature) {
                            return Err(words.mismatch());
                        }
                    }
                }
            }
            if let ChunkPiece::Bytes(bytes) = piece { keep(bytes) } else { Ok(()) }
        })
    }

    /// Ends the body, and returns its trailers.
    ///
    /// Errors: the body is incomplete, or differs from the signed one.
    pub fn end(self) -> Result<Trailers, Refusal> {
        let trailers = self.decoder.map(Decoder::end).transpose()?.unwrap_or_default();
        let (holds, refusal) = match self.proof {
            Proof::Hash(announced, hash) => (announced == hex::encode(hash.finalize()), wrong_body()),
            Proof::Chain { chain, signed_trailers: true, words } => (chain.ends_with(&trailers), words.mismatch()),
            Proof::Nothing | Proof::Chain { .. } => return Ok(trailers),
        };
        if holds { Ok(trailers) } else { Err(refusal) }
    }
}

fn wrong_body() -> Refusal {
    let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    Refusal::new(400, "XAmzContentSHA256Mismatch", text)
}
