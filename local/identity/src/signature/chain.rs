//! Chunk signatures: each covers its chunk and the previous signature, the first one that of the head.

use sha2::{Digest, Sha256};

use super::hmac;
use kit::chunked::{TRAILER_SIGNATURE, Trailers};

/// The state of the chain after the chunks verified so far.
#[derive(Clone)]
pub(super) struct Chain {
    pub key: Vec<u8>,
    pub date: String,
    pub scope: String,
    /// The previous signature, which the next one covers.
    pub last: String,
    /// The hash of the current chunk so far.
    pub chunk: Sha256,
}

impl Chain {
    /// Adds bytes to the current chunk.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.chunk.update(bytes);
    }

    /// Ends the current chunk, and returns whether the owner of the key signed it.
    pub(super) fn holds(&mut self, signature: Option<&str>) -> bool {
        let signed = format!("{}\n{}", hash(b""), hex::encode(self.chunk.finalize_reset()));
        self.verify_next("AWS4-HMAC-SHA256-PAYLOAD", &signed, signature)
    }

    /// Whether the owner of the key signed the trailers.
    pub(super) fn ends_with(mut self, trailers: &Trailers) -> bool {
        let named = |name: &str| name.eq_ignore_ascii_case(TRAILER_SIGNATURE);
        let signature = trailers.iter().find(|(name, _)| named(name)).map(|(_, value)| value.as_str());
        let mut signed: Vec<String> = trailers
            .iter()
            .filter(|(name, _)| !named(name))
            .map(|(name, value)| format!("{}:{value}\n", name.to_ascii_lowercase()))
            .collect();
        signed.sort();
        self.verify_next("AWS4-HMAC-SHA256-TRAILER", &hash(signed.concat().as_bytes()), signature)
    }

    fn verify_next(&mut self, algorithm: &str, signed: &str, signature: Option<&str>) -> bool {
        let text = format!("{algorithm}\n{}\n{}\n{}\n{signed}", self.date, self.scope, self.last);
        self.last = hex::encode(hmac(&self.key, text.as_bytes()));
        signature == Some(self.last.as_str())
    }
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::signing_key;
    use kit::chunked::{ChunkPiece, Decoder};

    const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";

    /// Verifies the example of S3's documentation: 65 KiB of the letter a, whose head has the signature `last`.
    fn holds(last: &str, [first, second, end]: [&str; 3], trailers: &str, signed: bool) -> bool {
        let key = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", SCOPE);
        let (long, short) = ("a".repeat(65_536), "a".repeat(1024));
        let body = format!(
            "10000;chunk-signature={first}\r\n{long}\r\n400;chunk-signature={second}\r\n{short}\r\n0;chunk-signature={end}\r\n{trailers}\r\n"
        );
        let mut chain = Chain {
            key,
            date: "20130524T000000Z".to_owned(),
            scope: SCOPE.to_owned(),
            last: last.to_owned(),
            chunk: Sha256::new(),
        };
        let (mut decoder, mut all) = (Decoder::default(), true);
        // In pieces, as it may arrive.
        for part in body.as_bytes().chunks(1000) {
            let each = |piece: ChunkPiece| {
                match piece {
                    ChunkPiece::Bytes(bytes) => chain.take(bytes),
                    ChunkPiece::End(signature) => all &= chain.holds(signature),
                }
                Ok(())
            };
            decoder.take(part, each).unwrap();
        }
        let trailers = decoder.end().unwrap();
        all && (!signed || chain.ends_with(&trailers))
    }

    #[test]
    fn the_chunks_of_the_documentations_example_are_accepted_and_others_are_not() {
        let head = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let chunks = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        assert!(holds(head, chunks, "", false));
        assert!(!holds(&head.replace('4', "5"), chunks, "", false));
        for at in 0..3 {
            let mut changed = chunks;
            changed[at] = chunks[(at + 1) % 3];
            assert!(!holds(head, changed, "", false), "chunk {at}");
        }
    }

    #[test]
    fn the_trailers_of_the_documentations_example_are_accepted_and_others_are_not() {
        let head = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
        let chunks = [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ];
        let signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
        let trailers = format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n");
        assert!(holds(head, chunks, &trailers, true));
        assert!(!holds(head, chunks, &trailers.replace("sOO8", "tOO8"), true));
        assert!(!holds(head, chunks, &trailers.replace(signature, head), true));
        assert!(!holds(head, chunks, "x-amz-checksum-crc32c:sOO8/Q==\r\n", true));
    }
}
