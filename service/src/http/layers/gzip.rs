//! Compression of answers.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use futures::StreamExt;
use futures::stream::{self, Stream};
use poem::error::InternalServerError;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Request, Response, Result};
use tokio::task::spawn_blocking;

use crate::http::json::InParts;

/// The largest body that is compressed without yielding to other requests.
const MAX_PACKED_AT_ONCE_BYTES: usize = 256 * 1024;

/// Compresses answers for clients that accept it, at a fast level: it costs next to nothing and gives most of the
/// savings.
pub(crate) async fn gzip<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    let unpacks = request.method() == Method::GET && takes_gzip(request.headers());
    let mut response = next.call(request).await?.into_response();
    let found = response.status() == StatusCode::OK;
    // Also on a 304, for shared caches (RFC 9110, section 15.4.5).
    if found || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    let is_packed = response.headers().contains_key(header::CONTENT_ENCODING);
    if !found || !unpacks || is_packed {
        return Ok(response);
    }
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if response.extensions().get::<InParts>().is_some() {
        let parts = response.take_body().into_bytes_stream();
        response.set_body(Body::from_bytes_stream(pack_in_parts(parts)));
        return Ok(response);
    }
    let body = response.take_body().into_bytes().await?;
    // Compressing a list of thousands of posts takes milliseconds, which would block the thread's other requests.
    let body =
        if body.len() > MAX_PACKED_AT_ONCE_BYTES { spawn_blocking(move || pack(&body)).await } else { Ok(pack(&body)) };
    response.set_body(body.map_err(InternalServerError)?);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(response)
}

thread_local! {
    /// The compressor of this thread, reused because it is larger than most answers.
    static PACKER: RefCell<Compress> = RefCell::new(Compress::new_gzip(Compression::fast(), WINDOW_BITS));
    /// The same for pieces of a body, without a frame around each.
    static PACKER_OF_PARTS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// The window: 32 KiB, gzip's maximum.
const WINDOW_BITS: u8 = 15;

/// Compresses a whole body. The compressor's memory is needed only during the call, not for every slow reader.
fn pack(body: &[u8]) -> Vec<u8> {
    PACKER.with_borrow_mut(|packer| {
        packer.reset();
        let mut packed = Vec::new();
        loop {
            let (rest, room) = (&body[packer.total_in() as usize..], body.len() / 4 + 64);
            packed.reserve(room);
            let state = packer.compress_vec(rest, &mut packed, FlushCompress::Finish);
            if state.expect("it was reset and is finishing") == Status::StreamEnd {
                return packed;
            }
        }
    })
}

/// Compresses a body piece by piece, each independently of the previous ones, so that a slow reader occupies only the
/// memory of a checksum instead of a quarter of a megabyte for a compressor.
fn pack_in_parts<E: Into<io::Error> + Send>(
    parts: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    // The only significant field of the header is the method, deflate (RFC 1952, section 2.3).
    const HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    /// An empty last block (RFC 1951, section 3.2.6).
    const LAST: &[u8] = &[3, 0];
    let begun = stream::once(async { Ok(Bytes::from_static(HEADER)) });
    let packed = stream::try_unfold(Some((Box::pin(parts), Crc::new())), |state| async {
        let Some((mut parts, mut crc)) = state else { return Ok(None) };
        Ok(Some(match parts.next().await.transpose().map_err(Into::into)? {
            Some(part) => {
                crc.update(&part);
                (pack_part(&part), Some((parts, crc)))
            }
            None => ([LAST, &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat().into(), None),
        }))
    });
    begun.chain(packed)
}

/// Compresses a piece and flushes it, so that another piece can follow.
fn pack_part(part: &[u8]) -> Bytes {
    PACKER_OF_PARTS.with_borrow_mut(|packer| {
        packer.reset();
        let mut packed = Vec::new();
        loop {
            packed.reserve(part.len() / 4 + 64);
            let rest = &part[packer.total_in() as usize..];
            packer.compress_vec(rest, &mut packed, FlushCompress::Full).expect("it is reset");
            // Free space in the buffer means that everything was flushed.
            if packer.total_in() as usize == part.len() && packed.len() < packed.capacity() {
                return packed.into();
            }
        }
    })
}

/// Compresses constant content as well as possible: some milliseconds, once, are worth it.
pub(crate) fn pack_well(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(body).and_then(|()| packer.finish()).expect("a Vec takes everything")
}

/// Whether a client accepts compressed answers.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight: f32| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_compressed_answer_decompresses_to_itself() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
        for body in [&b""[..], b"a", &b"a post and a post ".repeat(10_000), &noise, b"the last"] {
            let (packed, mut unpacked) = (pack(body), Vec::new());
            GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == body, "{} bytes became {}", body.len(), unpacked.len());
        }
    }

    #[tokio::test]
    async fn a_stream_compressed_in_parts_decompresses_to_itself() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
        let parts =
            [&b"["[..], &b"a post and a post ".repeat(10_000), &noise, b",", b"the last]"].map(Bytes::copy_from_slice);
        for parts in [&parts[..], &parts[..1], &[]] {
            let all = stream::iter(parts.to_vec()).map(Ok::<_, io::Error>);
            let packed: Vec<Bytes> = pack_in_parts(all).map(Result::unwrap).collect().await;
            let mut unpacked = Vec::new();
            GzDecoder::new(&*packed.concat()).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == parts.concat(), "{} bytes became {}", parts.concat().len(), unpacked.len());
        }
        let broken = stream::iter([Ok(parts[0].clone()), Err(io::Error::other("cut"))]);
        let packed: Vec<_> = pack_in_parts(broken).collect().await;
        assert!(packed.last().unwrap().is_err(), "what is broken off has no end");
    }

    #[test]
    fn answers_are_compressed_for_clients_that_accept_it() {
        let takes =
            |value| takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]));
        for value in ["gzip", "br, GZIP", "gzip;q=0.5, *;q=0", "deflate,gzip ; q=1"] {
            assert!(takes(value), "{value}");
        }
        for value in ["", "br", "*", "gzip;q=0", "gzip;q=0.0, br", "gzip;q=much", "xgzip"] {
            assert!(!takes(value), "{value}");
        }
    }
}
