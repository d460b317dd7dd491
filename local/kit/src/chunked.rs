//! Decodes `aws-chunked` bodies, which SDKs use for streams, as they arrive.

use crate::answer::Refusal;

/// The trailer that signs the other trailers.
pub const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// The maximum length of a chunk header, and of all trailers, in bytes.
const LONGEST_LINE: usize = 1 << 10;
const MOST_TRAILERS: usize = 64 << 10;

/// A decoded piece of a body.
#[derive(Debug, PartialEq)]
pub enum ChunkPiece<'a> {
    /// Bytes of the current chunk.
    Bytes(&'a [u8]),
    /// The end of a chunk, with its signature. The last chunk has no bytes.
    End(Option<&'a str>),
}

/// The headers after the body, including their signature.
pub type Trailers = Vec<(String, String)>;

/// Reads `<hex size>[;chunk-signature=…]\r\n<bytes>\r\n … 0\r\n<name>:<value>\r\n … \r\n`.
#[derive(Debug, Default)]
pub struct Decoder {
    at: At,
    /// The part of a line, or of the trailers, that has arrived.
    text: Vec<u8>,
    signature: Option<String>,
}

/// The state of the decoder.
#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    Head,
    /// The remaining bytes of a chunk, which a line break follows.
    Bytes(u64),
    CarriageReturn,
    LineFeed,
    Trailers,
}

impl Decoder {
    /// Decodes the bytes that have arrived and passes each piece to `each`.
    ///
    /// Errors: those of `each`, and `IncompleteBody` if the body is malformed.
    pub fn take(
        &mut self,
        mut rest: &[u8],
        mut each: impl FnMut(ChunkPiece) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        while let Some((first, others)) = rest.split_first() {
            match self.at {
                At::Head => {
                    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                    self.add(&rest[..end], LONGEST_LINE)?;
                    rest = &rest[end..];
                    let Some(line) = self.text.strip_suffix(b"\r\n") else { continue };
                    let (size, signature) = head(line).ok_or_else(incomplete)?;
                    (self.signature, self.at) = (signature, At::Bytes(size));
                    self.text.clear();
                    if size == 0 {
                        self.at = At::Trailers;
                        each(ChunkPiece::End(self.signature.as_deref()))?;
                    }
                }
                At::Bytes(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (bytes, after) = rest.split_at(here);
                    let left = left - bytes.len() as u64;
                    self.at = if left == 0 { At::CarriageReturn } else { At::Bytes(left) };
                    rest = after;
                    each(ChunkPiece::Bytes(bytes))?;
                }
                At::CarriageReturn if *first == b'\r' => (self.at, rest) = (At::LineFeed, others),
                At::LineFeed if *first == b'\n' => {
                    (self.at, rest) = (At::Head, others);
                    each(ChunkPiece::End(self.signature.as_deref()))?;
                }
                At::CarriageReturn | At::LineFeed => return Err(incomplete()),
                At::Trailers => {
                    self.add(rest, MOST_TRAILERS)?;
                    rest = &[];
                }
            }
        }
        Ok(())
    }

    /// Returns the trailers, at the end of the body.
    ///
    /// Errors: the body ends early.
    pub fn end(self) -> Result<Trailers, Refusal> {
        match self.at {
            At::Trailers => trailers(&self.text).ok_or_else(incomplete),
            _ => Err(incomplete()),
        }
    }

    fn add(&mut self, text: &[u8], most: usize) -> Result<(), Refusal> {
        if self.text.len() + text.len() > most {
            return Err(incomplete());
        }
        self.text.extend_from_slice(text);
        Ok(())
    }
}

/// The error for a malformed body, or one shorter than announced.
pub fn incomplete() -> Refusal {
    let text = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    Refusal::new(400, "IncompleteBody", text)
}

fn head(line: &[u8]) -> Option<(u64, Option<String>)> {
    let line = std::str::from_utf8(line).ok()?;
    let (size, extension) = line.split_once(';').unwrap_or((line, ""));
    let size = u64::from_str_radix(size.trim(), 16).ok()?;
    Some((size, extension.trim().strip_prefix("chunk-signature=").map(str::to_owned)))
}

fn trailers(text: &[u8]) -> Option<Trailers> {
    let lines = std::str::from_utf8(text).ok()?.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chunks of a body with their signatures, and its trailers.
    type Decoded = (Vec<(String, Option<String>)>, Trailers);

    /// Decodes a body that arrives in two parts.
    fn read(one: &[u8], two: &[u8]) -> Result<Decoded, Refusal> {
        let (mut decoder, mut chunks, mut text) = (Decoder::default(), Vec::new(), String::new());
        for part in [one, two] {
            decoder.take(part, |piece| {
                match piece {
                    ChunkPiece::Bytes(bytes) => text.push_str(std::str::from_utf8(bytes).unwrap()),
                    ChunkPiece::End(signature) => {
                        chunks.push((std::mem::take(&mut text), signature.map(str::to_owned)));
                    }
                }
                Ok(())
            })?;
        }
        Ok((chunks, decoder.end()?))
    }

    #[test]
    fn a_body_in_chunks_is_decoded_wherever_it_is_split() {
        let sent = b"4;chunk-signature=ab\r\nwiki\r\n5\r\npedia\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        let some = |text: &str| text.to_owned();
        let chunks = vec![(some("wiki"), Some(some("ab"))), (some("pedia"), None), (some(""), None)];
        for at in 0..=sent.len() {
            let (one, two) = sent.split_at(at);
            let found = read(one, two).unwrap();
            assert_eq!(found, (chunks.clone(), vec![(some("x-amz-checksum-crc32"), some("AAAA"))]), "cut at {at}");
        }
    }

    #[test]
    fn a_truncated_or_endless_body_is_an_error() {
        for sent in
            ["", "4", "4\r\n", "4\r\nwi", "4\r\nwiki", "4\r\nwiki\r\n", "x\r\n", "0\r\nno trailer\r\n", "4\r\nwiki!"]
        {
            assert_eq!(read(sent.as_bytes(), b"").unwrap_err().code, "IncompleteBody", "{sent}");
        }
        assert!(read(b"ffffffffffffffff\r\n", b"").is_err());
        assert!(read("0;".repeat(LONGEST_LINE).as_bytes(), b"").is_err());
        assert!(read(b"0\r\n", "a:b\r\n".repeat(MOST_TRAILERS).as_bytes()).is_err());
    }
}
