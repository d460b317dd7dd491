//! Decodes `aws-chunked` bodies, in which SDKs send streams.

use crate::answer::Refusal;

/// A body taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Chunked<'a> {
    /// In their order; the last one is empty.
    pub chunks: Vec<Chunk<'a>>,
    /// Headers that come after the bytes, the signature of them all among them.
    pub trailers: Vec<(&'a str, &'a str)>,
}

/// A piece of a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Chunk<'a> {
    pub bytes: &'a [u8],
    pub signature: Option<&'a str>,
}

/// The trailer that signs the others.
pub(crate) const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

impl<'a> Chunked<'a> {
    /// Reads `<hex size>[;chunk-signature=…]\r\n<bytes>\r\n … 0\r\n<name>:<value>\r\n … \r\n`.
    ///
    /// Errors: the body ends early.
    pub(crate) fn read(body: &'a [u8]) -> Result<Chunked<'a>, Refusal> {
        Chunked::take_apart(body).ok_or_else(incomplete)
    }

    fn take_apart(mut rest: &'a [u8]) -> Option<Chunked<'a>> {
        let mut chunks = Vec::new();
        loop {
            let (head, tail) = line(rest)?;
            let (size, extension) = head.split_once(';').unwrap_or((head, ""));
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let signature = extension.trim().strip_prefix("chunk-signature=");
            let (bytes, tail) = tail.split_at_checked(size)?;
            chunks.push(Chunk { bytes, signature });
            if size == 0 {
                return Some(Chunked { chunks, trailers: trailers(tail)? });
            }
            rest = tail.strip_prefix(b"\r\n")?;
        }
    }

    /// How many bytes there are in all.
    pub(crate) fn length(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }
}

/// The refusal of a body that is not as long as it says.
pub(crate) fn incomplete() -> Refusal {
    let text = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    Refusal::new(400, "IncompleteBody", text)
}

/// The text up to the end of the line, and what follows it.
fn line(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    Some((std::str::from_utf8(&text[..end]).ok()?, &text[end + 2..]))
}

fn trailers(rest: &[u8]) -> Option<Vec<(&str, &str)>> {
    let lines = std::str::from_utf8(rest).ok()?.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.split_once(':').map(|(name, value)| (name.trim(), value.trim()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_the_body_they_were() {
        let sent = b"4;chunk-signature=ab\r\nwiki\r\n5\r\npedia\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        let read = Chunked::read(sent).unwrap();
        assert_eq!(read.chunks[0], Chunk { bytes: b"wiki", signature: Some("ab") });
        assert_eq!(read.chunks[1], Chunk { bytes: b"pedia", signature: None });
        assert_eq!((read.chunks.len(), read.length()), (3, 9));
        assert_eq!(read.trailers, [("x-amz-checksum-crc32", "AAAA")]);
    }

    #[test]
    fn a_truncated_body_is_an_error() {
        for sent in ["", "4", "4\r\n", "4\r\nwi", "4\r\nwiki", "4\r\nwiki\r\n", "x\r\n", "0\r\nno trailer\r\n"] {
            assert_eq!(Chunked::read(sent.as_bytes()).unwrap_err().code, "IncompleteBody", "{sent}");
        }
        assert!(Chunked::read(b"ffffffffffffffff\r\n").is_err());
    }
}
