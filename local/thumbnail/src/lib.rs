//! Decodes pictures no larger than needed for a few sums over their pixels.
//!
//! This is a separate package because decoders are generic over their input: their code is compiled with the profile of
//! the crate that calls them, and this crate is always optimised.

mod jpeg;
mod png;
mod sums;

use std::sync::atomic::{AtomicBool, Ordering};

/// The maximum length of a thumbnail's sides in pixels.
pub const SIDE: u32 = 64;

/// The maximum number of pixels of a picture: more than any camera produces, and few enough to decode within seconds.
pub const MOST_PIXELS: u64 = 256_000_000;

/// A small version of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// The width of the original picture.
    pub width: u32,
    /// The height of the original picture.
    pub height: u32,
    /// The number of pixels in each row of the thumbnail.
    pub columns: u32,
    /// The red, green and blue of each pixel of the thumbnail, row by row.
    pub pixels: Vec<[u8; 3]>,
}

/// Why a picture has no thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not a JPEG or PNG, or it is damaged.
    NoPicture,
    /// Decoding it would take too much memory or time.
    TooLarge,
    /// The caller stopped the decoding.
    Stopped,
}

/// Decodes a JPEG or PNG until `stop` is set.
///
/// Guarantees: never holds the whole picture in memory, except for the coefficients of a progressive JPEG, whose size
/// is limited to a fourth of [`MOST_PIXELS`].
pub fn read(bytes: &[u8], stop: &AtomicBool) -> Result<Thumbnail, Unreadable> {
    let read = match bytes {
        [0xff, 0xd8, 0xff, ..] => jpeg::read(Input { rest: bytes, stop }),
        [0x89, b'P', b'N', b'G', ..] => png::read(bytes, stop),
        _ => Err(Unreadable::NoPicture),
    };
    read.map_err(|why| if stop.load(Ordering::Relaxed) { Unreadable::Stopped } else { why })
}

fn check_size(width: u32, height: u32, most: u64) -> Result<(), Unreadable> {
    match u64::from(width) * u64::from(height) {
        0 => Err(Unreadable::NoPicture),
        pixels if pixels > most => Err(Unreadable::TooLarge),
        _ => Ok(()),
    }
}

/// The bytes of a picture. Reading fails once decoding should stop.
struct Input<'a> {
    rest: &'a [u8],
    stop: &'a AtomicBool,
}

impl std::io::Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        // The decoder would retry after `Interrupted`.
        match self.stop.load(Ordering::Relaxed) {
            true => Err(std::io::ErrorKind::ConnectionAborted.into()),
            false => self.rest.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Instant;

    use image::codecs::jpeg::JpegEncoder;
    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    fn halves(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| Rgb(if x < width / 2 { [200, 30, 30] } else { [20, 60, 220] }))
    }

    fn jpeg(picture: &RgbImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(picture).unwrap();
        bytes
    }

    fn png(picture: &RgbImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn is_near(pixel: [u8; 3], wanted: [u8; 3]) -> bool {
        pixel.iter().zip(wanted).all(|(one, other)| one.abs_diff(other) < 12)
    }

    #[test]
    fn both_formats_keep_their_size_and_their_colours() {
        let picture = halves(640, 480);
        // The JPEG is decoded at 80 by 60 pixels, and is not enlarged.
        for (bytes, cells) in [(jpeg(&picture), 64 * 60), (png(&picture), 64 * 64)] {
            let small = read(&bytes, &GO).unwrap();
            assert_eq!((small.width, small.height, small.pixels.len()), (640, 480, cells));
            assert!(is_near(small.pixels[0], [200, 30, 30]), "{:?}", small.pixels[0]);
            assert!(is_near(small.pixels[63], [20, 60, 220]), "{:?}", small.pixels[63]);
        }
    }

    #[test]
    fn a_picture_smaller_than_a_thumbnail_is_not_enlarged() {
        let picture = RgbImage::from_fn(3, 1, |x, _| Rgb([x as u8 * 100, 0, 0]));
        let small = read(&png(&picture), &GO).unwrap();
        assert_eq!(small.pixels, [[0, 0, 0], [100, 0, 0], [200, 0, 0]]);
    }

    #[test]
    fn every_kind_of_png_has_the_colours_it_shows() {
        use ::png::{BitDepth, ColorType};
        let encoded = |colour: ColorType, depth: BitDepth, palette: &[u8], row: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = ::png::Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(colour);
            encoder.set_depth(depth);
            if !palette.is_empty() {
                encoder.set_palette(palette.to_vec());
            }
            encoder.write_header().unwrap().write_image_data(row).unwrap();
            bytes
        };
        let grey = [[0, 0, 0], [255, 255, 255]];
        let cases = [
            (encoded(ColorType::Grayscale, BitDepth::One, &[], &[0b0100_0000]), grey),
            (encoded(ColorType::GrayscaleAlpha, BitDepth::Eight, &[], &[0, 255, 255, 0]), grey),
            (encoded(ColorType::Grayscale, BitDepth::Sixteen, &[], &[0, 0, 255, 255]), grey),
            (encoded(ColorType::Indexed, BitDepth::One, &[1, 2, 3, 4, 5, 6], &[0b0100_0000]), [[1, 2, 3], [4, 5, 6]]),
            (encoded(ColorType::Rgba, BitDepth::Eight, &[], &[1, 2, 3, 0, 4, 5, 6, 9]), [[1, 2, 3], [4, 5, 6]]),
        ];
        for (bytes, pixels) in cases {
            assert_eq!(read(&bytes, &GO).unwrap().pixels, pixels);
        }
    }

    /// Eight by eight pixels, interlaced. The column determines the red of a pixel, the row its green.
    fn interlaced() -> Vec<u8> {
        const PASSES: [(u8, u8, u8, u8); 7] =
            [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];
        let mut raw = Vec::new();
        for (x, y, dx, dy) in PASSES {
            for row in (y..8).step_by(dy.into()) {
                raw.push(0);
                (x..8).step_by(dx.into()).for_each(|column| raw.extend([column * 10, row * 10, 0]));
            }
        }
        let mut picture = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut picture, 8, 8);
        encoder.set_color(::png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(::png::chunk::IDAT, &stored(&raw)).unwrap();
        writer.finish().unwrap();
        // The last byte of the header marks the picture as interlaced; the header's checksum follows.
        picture[28] = 1;
        let sum = crc(&picture[12..29]).to_be_bytes();
        picture[29..33].copy_from_slice(&sum);
        picture
    }

    /// A zlib stream without compression.
    fn stored(raw: &[u8]) -> Vec<u8> {
        let length = raw.len() as u16;
        let mut bytes = vec![0x78, 0x01, 0x01];
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(raw);
        let (mut one, mut two) = (1_u32, 0_u32);
        for byte in raw {
            one = (one + u32::from(*byte)) % 65_521;
            two = (two + one) % 65_521;
        }
        bytes.extend((two << 16 | one).to_be_bytes());
        bytes
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
        })
    }

    #[test]
    fn an_interlaced_png_has_its_pixels_where_they_belong() {
        let small = read(&interlaced(), &GO).unwrap();
        let wanted: Vec<[u8; 3]> = (0..64).map(|at| [at % 8 * 10, at / 8 * 10, 0]).collect();
        assert_eq!(small.pixels, wanted);
    }

    #[test]
    fn forty_eight_megapixels_are_decoded_at_an_eighth_of_their_size() {
        // With enough noise to make the file as large as a photograph.
        let mut picture = halves(8064, 6048);
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let noise = (x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0xc2b2_ae35) >> 28;
            pixel.0 = pixel.0.map(|channel| channel.saturating_add(noise as u8).saturating_sub(8));
        }
        let bytes = jpeg(&picture);
        let begun = Instant::now();
        let small = read(&bytes, &GO).unwrap();
        println!("{} MB of JPEG, 48 megapixels: {:?}", bytes.len() >> 20, begun.elapsed());
        assert_eq!((small.width, small.height), (8064, 6048));
        assert!(is_near(small.pixels[0], [200, 30, 30]) && is_near(small.pixels[63], [20, 60, 220]));
        let mut decoder = jpeg_decoder::Decoder::new(&bytes[..]);
        assert_eq!(jpeg::shrink(&mut decoder).unwrap(), (1008, 756), "what is held in memory");
    }

    #[test]
    fn a_small_file_that_claims_to_be_huge_is_refused_before_it_is_decoded() {
        let mut bytes = jpeg(&halves(16, 16));
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
        assert_eq!(read(&bytes, &GO), Err(Unreadable::TooLarge));
        // Progressive JPEGs keep all coefficients until the end.
        bytes[frame + 1] = 0xc2;
        bytes[frame + 5..frame + 9].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
        assert_eq!(read(&bytes, &GO), Err(Unreadable::TooLarge));
        let mut bytes = png(&halves(16, 16));
        bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let sum = crc(&bytes[12..29]).to_be_bytes();
        bytes[29..33].copy_from_slice(&sum);
        assert_eq!(read(&bytes, &GO), Err(Unreadable::TooLarge));
    }

    #[test]
    fn decoding_stops_when_its_caller_is_gone() {
        let picture = halves(640, 480);
        for bytes in [jpeg(&picture), png(&picture)] {
            assert_eq!(read(&bytes, &AtomicBool::new(true)), Err(Unreadable::Stopped));
        }
    }

    #[test]
    fn invalid_pictures_are_distinguished() {
        let picture = halves(64, 64);
        let cut = [jpeg(&picture), png(&picture)].map(|bytes| bytes[..bytes.len() / 2].to_vec());
        let others = [b"".to_vec(), b"<html>".to_vec(), b"\xff\xd8\xff\xe0 broken".to_vec()];
        for bytes in others.into_iter().chain([cut[1].clone()]) {
            assert_eq!(read(&bytes, &GO), Err(Unreadable::NoPicture));
        }
    }
}
