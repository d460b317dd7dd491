//! Strips metadata from pictures: location and author, embedded previews, cropped parts.
//!
//! Works on the segments of a file and never touches the compressed pixels. For each format it keeps the segments on an
//! allow list, and the orientation from the EXIF data, and drops all others and everything after the end of the
//! picture. Clean files come out unchanged. The page does the same in `metadata.js`.

mod exif;
mod gif;
mod jpeg;
mod png;
mod reader;
mod webp;

pub(crate) use exif::{EXIF, orientation};
use gif::gif;
use jpeg::jpeg;
pub(crate) use jpeg::{APP1, EOI, SOS, next_marker};
pub(crate) use png::PNG;
use png::png;
pub(crate) use reader::Reader;
use webp::webp;

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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::metadata::Orientation;
    use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

    use super::exif::{ORIENTATION, SHORT, oriented};
    use super::jpeg::{APP0, APP2, COM, push_segment};
    use super::png::push_chunk;
    use super::webp::push_riff;
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
