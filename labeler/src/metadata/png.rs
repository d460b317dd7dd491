//! PNG (W3C, third edition, section 5): chunks, each with a length, a type and a checksum.

use super::Broken;
use super::exif::{orientation, oriented};
use super::reader::Reader;

pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";

/// The chunks for pixels, colours, physical size and animation.
const CHUNKS: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV",
    b"cLLI", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT",
];

pub(super) fn png(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut reader = Reader(bytes);
    let mut out = reader.take(PNG.len())?.to_vec();
    let (mut has_pixels, mut is_oriented) = (false, false);
    loop {
        let first = out.len() == PNG.len();
        let before = reader.0;
        let length = u32::from_be_bytes(reader.array()?) as usize;
        let name: [u8; 4] = reader.array()?;
        let content = reader.take(length)?;
        reader.take(4)?;
        let chunk = &before[..12 + length];
        if first != (name == *b"IHDR") {
            return Err(Broken);
        }
        has_pixels |= name == *b"IDAT";
        if name == *b"eXIf" {
            if let Some(orientation) = orientation(content).filter(|_| !is_oriented) {
                is_oriented = true;
                push_chunk(&mut out, *b"eXIf", &oriented(orientation));
            }
        } else if CHUNKS.contains(&&name) {
            out.extend(chunk);
        } else if name[0].is_ascii_uppercase() || !name.iter().all(u8::is_ascii_alphabetic) {
            // The picture cannot be drawn without this chunk (section 5.4), and it is unknown.
            return Err(Broken);
        }
        if name == *b"IEND" {
            return if has_pixels { Ok(out) } else { Err(Broken) };
        }
    }
}

pub(super) fn push_chunk(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    let body = [&name[..], content].concat();
    out.extend((content.len() as u32).to_be_bytes());
    out.extend(&body);
    out.extend(crc32fast::hash(&body).to_be_bytes());
}
