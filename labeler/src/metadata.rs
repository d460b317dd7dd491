//! Strips metadata from pictures: location and author, embedded previews, cropped parts.
//!
//! Works on the segments of a file and never touches the compressed pixels. For each format it keeps the segments on an
//! allow list, and the orientation from the EXIF data, and drops all others and everything after the end of the
//! picture. Clean files come out unchanged. The page does the same in `metadata.js`.

/// The formats that can be cleaned, and so may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Gif,
    Webp,
}

/// The file is not valid in the format of its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

impl Format {
    /// Detects the format by the first bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => bytes.starts_with(PNG).then_some(Self::Png),
        }
    }

    /// Whether Rekognition supports it.
    pub(crate) fn is_recognisable(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png)
    }

    /// Returns the picture without its metadata.
    ///
    /// Guarantees: cleaning again changes nothing.
    pub(crate) fn clean(self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        match self {
            Self::Jpeg => jpeg(bytes),
            Self::Png => png(bytes),
            Self::Gif => gif(bytes),
            Self::Webp => webp(bytes),
        }
    }
}

/// A cursor over a file.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

// JPEG (ITU-T T.81, annex B): segments, each with a marker and a length, and compressed data behind `SOS`.

const SOI: u8 = 0xD8;
pub(crate) const EOI: u8 = 0xD9;
pub(crate) const SOS: u8 = 0xDA;
const APP0: u8 = 0xE0;
pub(crate) const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;
const COM: u8 = 0xFE;
pub(crate) const EXIF: &[u8] = b"Exif\0\0";

fn jpeg(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
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

fn push_segment(out: &mut Vec<u8>, marker: u8, content: &[u8]) {
    let length = u16::try_from(content.len() + 2).expect("it was read from a segment, or is short");
    out.extend([0xFF, marker]);
    out.extend(length.to_be_bytes());
    out.extend(content);
}

// PNG (W3C, third edition, section 5): chunks, each with a length, a type and a checksum.

pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";

/// The chunks for pixels, colours, physical size and animation.
const CHUNKS: &[&[u8; 4]] = &[
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV",
    b"cLLI", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT",
];

fn png(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
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

fn push_chunk(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    let body = [&name[..], content].concat();
    out.extend((content.len() as u32).to_be_bytes());
    out.extend(&body);
    out.extend(crc32fast::hash(&body).to_be_bytes());
}

// GIF (version 89a): a logical screen, and blocks that consist of sub-blocks.

/// Application extensions that browsers honour: loops and colours.
const EXTENSIONS: &[&[u8]] = &[b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

fn gif(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
    const EXTENSION: u8 = 0x21;
    const IMAGE: u8 = 0x2C;
    const TRAILER: u8 = 0x3B;
    const CONTROL: u8 = 0xF9;
    const APPLICATION: u8 = 0xFF;
    let mut reader = Reader(bytes);
    let screen = reader.take(13)?;
    reader.take(colours(screen[10]))?;
    let mut out = bytes[..bytes.len() - reader.0.len()].to_vec();
    let mut has_image = false;
    loop {
        // Some encoders omit the trailer.
        if reader.is_at_end() && has_image {
            return Ok(out);
        }
        let before = reader.0;
        let keep = match reader.byte()? {
            TRAILER => {
                out.push(TRAILER);
                return if has_image { Ok(out) } else { Err(Broken) };
            }
            IMAGE => {
                let description = reader.take(9)?;
                reader.take(colours(description[8]))?;
                reader.byte()?;
                sub_blocks(&mut reader)?;
                has_image = true;
                true
            }
            EXTENSION => {
                let label = reader.byte()?;
                let first = sub_blocks(&mut reader)?;
                label == CONTROL || (label == APPLICATION && EXTENSIONS.contains(&first))
            }
            _ => return Err(Broken),
        };
        if keep {
            out.extend(&before[..before.len() - reader.0.len()]);
        }
    }
}

/// The size of a colour table in bytes, from a packed field.
fn colours(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// Reads sub-blocks to their end; returns the content of the first.
fn sub_blocks<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Broken> {
    let mut first = None;
    loop {
        let length = reader.byte()?;
        let content = reader.take(length.into())?;
        first = first.or(Some(content));
        if length == 0 {
            return first.ok_or(Broken);
        }
    }
}

// WebP (RFC 9649, section 2): chunks in a RIFF container, padded to an even length.

const WEBP_CHUNKS: &[&[u8; 4]] = &[b"VP8X", b"VP8 ", b"VP8L", b"ANIM", b"ANMF", b"ALPH", b"ICCP"];

fn webp(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
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

fn push_riff(out: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    out.extend(name);
    out.extend((content.len() as u32).to_le_bytes());
    out.extend(content);
    out.extend(&[0][..content.len() % 2]);
}

// EXIF data: a TIFF file (version 6.0, section 2) with an entry for the orientation.

const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

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
fn oriented(orientation: u8) -> [u8; 26] {
    let mut tiff = *b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    tiff[19] = orientation;
    tiff
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::metadata::Orientation;
    use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

    use super::*;

    const SECRET: &[u8] = b"48.8584 N, 2.2945 E, 35 m";

    /// EXIF data of a camera, in either byte order: maker, orientation and location.
    fn camera(is_little: bool, orientation: u16) -> Vec<u8> {
        let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let mut tiff = if is_little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        tiff.extend(long(8));
        tiff.extend(short(2));
        for (tag, kind, count, value) in [
            (0x010F, 2, SECRET.len() as u32, long(38)),
            (ORIENTATION, SHORT, 1, {
                let [a, b] = short(orientation);
                [a, b, 0, 0]
            }),
        ] {
            tiff.extend(short(tag));
            tiff.extend(short(kind));
            tiff.extend(long(count));
            tiff.extend(value);
        }
        tiff.extend(long(0));
        tiff.extend(SECRET);
        tiff
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let picture = RgbImage::from_fn(40, 24, |x, y| image::Rgb([6 * x as u8, 9 * y as u8, 128]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// A JPEG with everything possible: from a camera, an editor, a colour profile, a second picture, and a video after
    /// it.
    fn of_a_camera(orientation: u16) -> Vec<u8> {
        let plain = encoded(ImageFormat::Jpeg);
        let jfif_end = 4 + usize::from(plain[5]);
        let mut out = plain[..jfif_end].to_vec();
        for (marker, begin) in
            [(APP1, &b"http://ns.adobe.com/xap/1.0/\0"[..]), (0xED, &b"Photoshop 3.0\0"[..]), (APP2, &b"MPF\0"[..])]
        {
            push_segment(&mut out, marker, &[begin, SECRET].concat());
        }
        push_segment(&mut out, APP1, &[EXIF, &camera(false, orientation)].concat());
        push_segment(&mut out, APP2, b"ICC_PROFILE\0\x01\x01a profile");
        push_segment(&mut out, APP0, &[b"JFXX\0", SECRET].concat());
        push_segment(&mut out, COM, SECRET);
        push_segment(&mut out, 0xEF, SECRET);
        out.extend(&plain[jfif_end..]);
        out.extend(SECRET);
        out
    }

    fn of_an_editor(orientation: u16) -> Vec<u8> {
        let plain = encoded(ImageFormat::Png);
        let (head, rest) = plain.split_at(PNG.len() + 25);
        let mut out = head.to_vec();
        push_chunk(&mut out, *b"gAMA", &45455u32.to_be_bytes());
        push_chunk(&mut out, *b"eXIf", &camera(true, orientation));
        for name in [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"iDOT", b"prVt"] {
            push_chunk(&mut out, *name, SECRET);
        }
        out.extend(rest);
        out.extend(SECRET);
        out
    }

    fn moving() -> Vec<u8> {
        let mut out = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF".to_vec();
        out.extend(b"\x21\xFF\x0BNETSCAPE2.0\x03\x01\0\0\0");
        out.extend([&b"\x21\xFF\x0BXMP DataXMP"[..], &[SECRET.len() as u8][..], SECRET, &b"\0"[..]].concat());
        out.extend([&b"\x21\xFE"[..], &[SECRET.len() as u8][..], SECRET, &b"\0"[..]].concat());
        for _ in 0..2 {
            out.extend(b"\x21\xF9\x04\0\x0A\0\0\0\x2C\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
        }
        out.push(0x3B);
        out.extend(SECRET);
        out
    }

    fn of_the_web(orientation: u16) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
        push_riff(&mut out, *b"VP8X", &[0x2C, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        push_riff(&mut out, *b"ICCP", b"a profile");
        push_riff(&mut out, *b"VP8L", b"pixels");
        push_riff(&mut out, *b"EXIF", &camera(true, orientation));
        push_riff(&mut out, *b"XMP ", SECRET);
        push_riff(&mut out, *b"odd ", SECRET);
        let size = out.len() as u32 - 8;
        out[4..8].copy_from_slice(&size.to_le_bytes());
        out.extend(SECRET);
        out
    }

    fn all(orientation: u16) -> [(Format, Vec<u8>); 4] {
        [
            (Format::Jpeg, of_a_camera(orientation)),
            (Format::Png, of_an_editor(orientation)),
            (Format::Gif, moving()),
            (Format::Webp, of_the_web(orientation)),
        ]
    }

    fn has(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    /// The pixels, profile and orientation as a decoder reads them.
    fn seen(bytes: &[u8]) -> (DynamicImage, Option<Vec<u8>>, Orientation) {
        let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap().into_decoder().unwrap();
        let (profile, orientation) = (decoder.icc_profile().unwrap(), decoder.orientation().unwrap());
        (DynamicImage::from_decoder(decoder).unwrap(), profile, orientation)
    }

    #[test]
    fn nothing_is_left_of_where_a_picture_was_taken() {
        for (format, dirty) in all(6) {
            assert_eq!(Format::of(&dirty), Some(format));
            let clean = format.clean(&dirty).unwrap();
            assert!(has(&dirty, SECRET) && !has(&clean, SECRET), "{format:?}");
            assert_eq!(format.clean(&clean).unwrap(), clean, "{format:?}: once is enough");
        }
    }

    #[test]
    fn pixels_profile_and_orientation_stay() {
        for (dirty, plain) in [(of_a_camera(6), ImageFormat::Jpeg), (of_an_editor(6), ImageFormat::Png)] {
            let clean = Format::of(&dirty).unwrap().clean(&dirty).unwrap();
            let (before, after) = (seen(&dirty), seen(&clean));
            assert_eq!(after.0, seen(&encoded(plain)).0, "{plain:?}");
            assert_eq!(after.1, before.1, "{plain:?}");
            assert_eq!(after.2, Orientation::Rotate90, "{plain:?}");
        }
        let clean = jpeg(&of_a_camera(1)).unwrap();
        assert_eq!(seen(&clean).1.as_deref(), Some(&b"a profile"[..]));
        assert!(!has(&clean, b"Exif"), "what is upright needs no word about it");
        let clean = webp(&of_the_web(6)).unwrap();
        assert!(has(&clean, b"a profile") && has(&clean, &oriented(6)));
        assert_eq!(clean[20], 0x28, "a profile and EXIF data");
        assert_eq!(webp(&of_the_web(1)).unwrap()[20], 0x20);
        assert_eq!(clean.len(), 8 + u32::from_le_bytes(clean[4..8].try_into().unwrap()) as usize);
        let clean = gif(&moving()).unwrap();
        assert!(has(&clean, b"NETSCAPE2.0") && clean.iter().filter(|byte| **byte == 0x2C).count() == 2);
    }

    #[test]
    fn a_file_without_metadata_is_left_unchanged() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let bytes = encoded(format);
            assert_eq!(Format::of(&bytes).unwrap().clean(&bytes).unwrap(), bytes, "{format:?}");
        }
    }

    #[test]
    fn every_orientation_survives_in_either_order_of_bytes() {
        for value in 0..=9 {
            let kept = (2..=8).contains(&value).then_some(value as u8);
            assert_eq!([orientation(&camera(false, value)), orientation(&camera(true, value))], [kept, kept]);
            assert_eq!(kept.map(|kept| orientation(&oriented(kept))), kept.map(Some));
        }
    }

    #[test]
    fn other_formats_are_none_of_ours() {
        for other in [
            &b""[..],
            b"\xFF\xD8",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"<!doctype html>",
            b"\0\0\0\x18ftypheic",
            b"\0\0\0\x1Cftypavif",
            b"II*\0",
            b"BM",
            b"%PDF-1.7",
            b"RIFF\0\0\0\0WAVE",
        ] {
            assert_eq!(Format::of(other), None, "{other:?}");
        }
    }

    #[test]
    fn broken_files_are_refused_and_never_panic() {
        for (format, whole) in all(6) {
            for end in 0..whole.len() {
                if let Ok(clean) = format.clean(&whole[..end]) {
                    assert!(!has(&clean, SECRET), "{format:?} cut after {end}");
                    assert_eq!(format.clean(&clean), Ok(clean.clone()), "{format:?} cut after {end}");
                }
            }
            for at in 0..whole.len() {
                for value in [0x00, 0x80, 0xD9, 0xFF] {
                    let mut changed = whole.clone();
                    changed[at] = value;
                    if let Ok(clean) = format.clean(&changed) {
                        assert_eq!(format.clean(&clean), Ok(clean.clone()), "{format:?}, {value:#x} at {at}");
                    }
                }
            }
        }
        assert_eq!(jpeg(b"\xFF\xD8\xFF\xD9"), Err(Broken));
        assert_eq!(png(&encoded(ImageFormat::Png)[..60]), Err(Broken));
    }
}
