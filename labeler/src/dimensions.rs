//! The size at which browsers display a picture, read from its header: pages reserve the room before it has loaded.

use std::fmt;

use crate::metadata::{APP1, EOI, EXIF, Format, PNG, Reader, SOS, next_marker, orientation};

/// A width and a height in pixels, after the rotation that the orientation requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimensions {
    width: u32,
    height: u32,
}

impl Dimensions {
    /// Reads the size of a picture; `None` if its header is damaged or says zero.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let (size, orientation) = match Format::of(bytes)? {
            Format::Jpeg => jpeg(bytes)?,
            Format::Png => png(bytes)?,
            Format::Gif => (gif(bytes)?, None),
            Format::Webp => webp(bytes)?,
        };
        // From 5 on, an orientation swaps the axes (TIFF 6.0, section 8).
        let (width, height) = if orientation.is_some_and(|it| it >= 5) { (size.1, size.0) } else { size };
        (width > 0 && height > 0).then_some(Self { width, height })
    }
}

impl fmt::Display for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Width and height as they are stored.
type Stored = (u32, u32);

/// The size is in the frame header; the orientation, if there is one, in a segment before it.
fn jpeg(bytes: &[u8]) -> Option<(Stored, Option<u8>)> {
    let mut reader = Reader(bytes.get(2..)?);
    let mut turned = None;
    loop {
        let marker = next_marker(&mut reader)?;
        if matches!(marker, 0x01 | 0xD0..=0xD7) {
            continue;
        }
        if matches!(marker, SOS | EOI) {
            return None;
        }
        let length = usize::from(u16::from_be_bytes(reader.array().ok()?)).checked_sub(2)?;
        let content = reader.take(length).ok()?;
        match marker {
            APP1 if content.starts_with(EXIF) => turned = turned.or_else(|| orientation(&content[EXIF.len()..])),
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                // The precision, and two numbers of 16 bits.
                let &[_, a, b, c, d, ..] = content else { return None };
                let [height, width] = [[a, b], [c, d]].map(|pair| u16::from_be_bytes(pair).into());
                return Some(((width, height), turned));
            }
            _ => (),
        }
    }
}

fn png(bytes: &[u8]) -> Option<(Stored, Option<u8>)> {
    let mut reader = Reader(bytes.get(PNG.len()..)?);
    let (mut size, mut turned) = (None, None);
    // A damaged tail does not matter here.
    while let Ok(length) = reader.array() {
        let (Ok(name), Ok(content)) = (reader.array::<4>(), reader.take(u32::from_be_bytes(length) as usize)) else {
            break;
        };
        match &name {
            b"IHDR" => size = size.or(content.get(..8)),
            b"eXIf" => turned = turned.or_else(|| orientation(content)),
            _ => (),
        }
        let _checksum = reader.take(4);
    }
    let mut size = Reader(size?);
    let [width, height] = [size.array().ok()?, size.array().ok()?].map(u32::from_be_bytes);
    Some(((width, height), turned))
}

fn gif(bytes: &[u8]) -> Option<Stored> {
    let &[a, b, c, d] = bytes.get(6..10)? else { return None };
    Some((u16::from_le_bytes([a, b]).into(), u16::from_le_bytes([c, d]).into()))
}

/// Reads the first chunk that has a size (RFC 9649, sections 2.5 to 2.7, and RFC 6386, section 9.1).
fn webp(bytes: &[u8]) -> Option<(Stored, Option<u8>)> {
    let mut reader = Reader(bytes.get(12..)?);
    let (mut size, mut turned) = (None, None);
    while !reader.is_at_end() {
        let (Ok(name), Ok(length)) = (reader.array::<4>(), reader.array()) else { break };
        let length = u32::from_le_bytes(length) as usize;
        let Ok(content) = reader.take(length) else { break };
        let _padding = reader.take((length % 2).min(reader.0.len()));
        match (&name, content) {
            (b"VP8X", &[_, _, _, _, a, b, c, d, e, f, ..]) => {
                let of = |low, middle, high| 1 + u32::from_le_bytes([low, middle, high, 0]);
                size = size.or(Some((of(a, b, c), of(d, e, f))));
            }
            (b"VP8L", &[0x2F, a, b, c, d, ..]) => {
                let bits = u32::from_le_bytes([a, b, c, d]);
                size = size.or(Some((1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF))));
            }
            (b"VP8 ", &[_, _, _, 0x9D, 0x01, 0x2A, a, b, c, d, ..]) => {
                let of = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                size = size.or(Some((of(a, b), of(c, d))));
            }
            (b"EXIF", content) => {
                turned = turned.or_else(|| orientation(content.strip_prefix(EXIF).unwrap_or(content)));
            }
            _ => (),
        }
    }
    Some((size?, turned))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, RgbImage};

    use super::*;

    fn picture(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(300, 200).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn size(bytes: &[u8]) -> Option<String> {
        Dimensions::of(bytes).map(|size| size.to_string())
    }

    #[test]
    fn each_format_has_its_size() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            assert_eq!(size(&picture(format)).as_deref(), Some("300x200"), "{format:?}");
        }
        assert_eq!(size(b"GIF89a\x2C\x01\xC8\0\0\0\0").as_deref(), Some("300x200"));
        for (chunk, content) in [
            (b"VP8X", &[0, 0, 0, 0, 0x2B, 1, 0, 0xC7, 0, 0][..]),
            (b"VP8L", &[0x2F, 0x2B, 0xC1, 0x31, 0]),
            (b"VP8 ", &[0, 0, 0, 0x9D, 1, 0x2A, 0x2C, 1, 0xC8, 0]),
        ] {
            let riff = [b"RIFF\0\0\0\0WEBP", &chunk[..], &(content.len() as u32).to_le_bytes(), content].concat();
            assert_eq!(size(&riff).as_deref(), Some("300x200"), "{}", chunk.escape_ascii());
        }
    }

    #[test]
    fn a_turned_picture_is_displayed_upright() {
        let plain = picture(ImageFormat::Jpeg);
        for (orientation, expected) in [(3, "300x200"), (6, "200x300"), (8, "200x300")] {
            let mut exif = *b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
            exif[29] = orientation;
            let turned = [&plain[..2], &exif, &plain[2..]].concat();
            assert_eq!(size(&turned).as_deref(), Some(expected), "orientation {orientation}");
        }
    }

    #[test]
    fn a_damaged_header_has_no_size() {
        let (jpeg, png) = (picture(ImageFormat::Jpeg), picture(ImageFormat::Png));
        for bytes in
            [&jpeg[..10], &png[..20], b"GIF89a\0", b"GIF89a\0\0\0\0", b"RIFF\0\0\0\0WEBPVP8X\xFF", b"", b"text"]
        {
            assert_eq!(size(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
