//! JPEG (ITU-T T.81, annex B): segments, each with a marker and a length, and compressed data behind `SOS`.

use super::Broken;
use super::exif::{EXIF, orientation, oriented};
use super::reader::Reader;

const SOI: u8 = 0xD8;
pub(crate) const EOI: u8 = 0xD9;
pub(crate) const SOS: u8 = 0xDA;
pub(super) const APP0: u8 = 0xE0;
pub(crate) const APP1: u8 = 0xE1;
pub(super) const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;
pub(super) const COM: u8 = 0xFE;

pub(super) fn jpeg(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    let mut reader = Reader(bytes);
    let mut out = reader.take(2)?.to_vec();
    let (mut has_frame, mut has_scan, mut is_oriented) = (false, false, false);
    loop {
        let Some(marker) = next_marker(&mut reader) else {
            // Truncated within the pixels, for example by a camera that ran out of power. Browsers display the rest.
            return if has_scan { Ok(out) } else { Err(Broken) };
        };
        if matches!(marker, 0x01 | 0xD0..=EOI) {
            out.extend([0xFF, marker]);
            if marker == EOI {
                return if has_scan { Ok(out) } else { Err(Broken) };
            }
            continue;
        }
        let length = usize::from(u16::from_be_bytes(reader.array()?)).checked_sub(2).ok_or(Broken)?;
        let content = reader.take(length)?;
        has_frame |= matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC);
        match marker {
            APP1 if content.starts_with(EXIF) => {
                if let Some(orientation) = orientation(&content[EXIF.len()..]).filter(|_| !is_oriented) {
                    is_oriented = true;
                    push_segment(&mut out, APP1, &[EXIF, &oriented(orientation)].concat());
                }
            }
            APP0..=0xEF | COM if !is_kept_segment(marker, content) => (),
            SOS if !has_frame => return Err(Broken),
            SOS => {
                has_scan = true;
                push_segment(&mut out, SOS, content);
                let data = scan_length(reader.0);
                out.extend(reader.take(data)?);
            }
            _ => push_segment(&mut out, marker, content),
        }
    }
}

/// Whether a segment is kept. Of the application segments, only those that affect colours are: depth maps, second
/// pictures and thumbnails are in others.
fn is_kept_segment(marker: u8, content: &[u8]) -> bool {
    match marker {
        APP0 => content.starts_with(b"JFIF\0"),
        APP2 => content.starts_with(b"ICC_PROFILE\0"),
        APP14 => content.starts_with(b"Adobe"),
        _ => false,
    }
}

/// Returns the next marker, skipping other bytes; `None` at the end of the file.
pub(crate) fn next_marker(reader: &mut Reader<'_>) -> Option<u8> {
    loop {
        let start = reader.0.iter().position(|byte| *byte == 0xFF)?;
        let marker = reader.0[start..].iter().position(|byte| *byte != 0xFF)? + start;
        let found = reader.0[marker];
        reader.0 = &reader.0[marker + 1..];
        // A stuffed zero is not a marker, and a second start of image is skipped.
        if !matches!(found, 0x00 | SOI) {
            return Some(found);
        }
    }
}

/// The length of the compressed data, including restart markers, up to the next marker.
fn scan_length(data: &[u8]) -> usize {
    let is_marker = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7);
    data.windows(2).position(is_marker).unwrap_or(data.len())
}

pub(super) fn push_segment(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    let length = u16::try_from(content.len() + 2).expect("it was read from a segment, or is short");
    out.extend([0xFF, marker]);
    out.extend(length.to_be_bytes());
    out.extend(content);
}
