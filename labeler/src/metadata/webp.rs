//! WebP (RFC 9649, section 2): chunks in a RIFF container, padded to an even length.

use super::Broken;
use super::exif::{EXIF, orientation, oriented};
use super::reader::Reader;

const WEBP_CHUNKS: &[&[u8; 4]] = &[b"VP8X", b"VP8 ", b"VP8L", b"ANIM", b"ANMF", b"ALPH", b"ICCP"];

pub(super) fn webp(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    /// Flags of `VP8X`: EXIF data and XMP are present.
    const HAS_EXIF: u8 = 0x08;
    const HAS_XMP: u8 = 0x04;
    let mut reader = Reader(bytes);
    reader.take(4)?;
    let size = u32::from_le_bytes(reader.array()?) as usize;
    let mut reader = Reader(reader.take(size)?);
    let mut out = [&b"RIFF\0\0\0\0"[..], reader.take(4)?].concat();
    let (mut flags, mut has_pixels, mut is_oriented) = (None, false, false);
    while !reader.is_at_end() {
        let name: [u8; 4] = reader.array()?;
        let length = u32::from_le_bytes(reader.array()?) as usize;
        let content = reader.take(length)?;
        // The last one may lack its padding.
        reader.take((length % 2).min(reader.0.len()))?;
        has_pixels |= [*b"VP8 ", *b"VP8L", *b"ANMF"].contains(&name);
        if name == *b"VP8X" {
            flags = flags.or(Some(out.len() + 8)).filter(|_| !content.is_empty());
        }
        if name == *b"EXIF" {
            let tiff = content.strip_prefix(EXIF).unwrap_or(content);
            if let Some(orientation) = orientation(tiff).filter(|_| flags.is_some() && !is_oriented) {
                is_oriented = true;
                push_riff(&mut out, name, &oriented(orientation));
            }
        } else if WEBP_CHUNKS.contains(&&name) {
            push_riff(&mut out, name, content);
        }
    }
    if !has_pixels {
        return Err(Broken);
    }
    if let Some(flags) = flags {
        out[flags] &= !(HAS_EXIF | HAS_XMP);
        out[flags] |= if is_oriented { HAS_EXIF } else { 0 };
    }
    let size = u32::try_from(out.len() - 8).map_err(|_| Broken)?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Ok(out)
}

pub(super) fn push_riff(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    out.extend(name);
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
    out.extend(&[0][..content.len() % 2]);
}
