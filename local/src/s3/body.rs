//! The body of an upload, out of the chunks in which SDKs send streams.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::answer::Refusal;
use crate::call::Request;

/// The bytes to store: `aws-chunked` undone, lengths and announced SHA-256 checked.
pub(crate) fn content(request: &Request) -> Result<Bytes, Refusal> {
    let chunked = request.header("x-amz-content-sha256").is_some_and(|announced| announced.starts_with("STREAMING-"));
    let content = if chunked { unchunk(&request.body)? } else { request.body.clone() };
    if let Some(length) = request.header("x-amz-decoded-content-length")
        && length.parse() != Ok(content.len())
    {
        return Err(incomplete());
    }
    if let Some(announced) = request.header("x-amz-checksum-sha256")
        && announced != BASE64_STANDARD.encode(Sha256::digest(&content))
    {
        return Err(Refusal::new(400, "BadDigest", "The SHA256 you specified did not match the calculated checksum."));
    }
    Ok(content)
}

/// `<hex size>[;chunk-signature=…]\r\n<bytes>\r\n … 0\r\n<trailers>`
fn unchunk(mut rest: &[u8]) -> Result<Bytes, Refusal> {
    let mut content = BytesMut::with_capacity(rest.len());
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or_else(incomplete)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| incomplete())?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| incomplete())?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(content.freeze());
        }
        let (chunk, tail) = rest.split_at_checked(size).ok_or_else(incomplete)?;
        content.extend_from_slice(chunk);
        rest = tail.strip_prefix(b"\r\n").ok_or_else(incomplete)?;
    }
}

fn incomplete() -> Refusal {
    Refusal::new(
        400,
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_the_body_they_were() {
        let sent = b"4;chunk-signature=ab\r\nwiki\r\n5\r\npedia\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        assert_eq!(unchunk(sent).unwrap(), "wikipedia");
        assert_eq!(unchunk(b"4\r\nwi").unwrap_err().code, "IncompleteBody");
    }
}
