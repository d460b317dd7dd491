//! EXIF data: a TIFF file (version 6.0, section 2) with an entry for the orientation.

pub(crate) const EXIF: &[u8] = b"Exif\0\0";

pub(super) const ORIENTATION: u16 = 0x0112;
pub(super) const SHORT: u16 = 3;

/// The orientation of a picture, unless it is the default.
pub(crate) fn orientation(tiff: &[u8]) -> Option<u8> {
    let is_little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|number| directory + 2 + 12 * number).find(|at| short(*at) == Some(ORIENTATION))?;
    let is_one_short = short(entry + 2)? == SHORT && long(entry + 4)? == 1;
    let value = short(entry + 8).filter(|value| is_one_short && (2..=8).contains(value))?;
    u8::try_from(value).ok()
}

/// EXIF data with the orientation and nothing else.
pub(super) fn oriented(orientation: u8) -> [u8; 26] {
    let mut tiff = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    tiff[19] = orientation;
    tiff
}
