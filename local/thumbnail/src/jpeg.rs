//! JPEG, whose blocks can be decoded at an eighth of their size.

use std::io::Read;

use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};

use super::sums::Sums;
use super::{Input, MOST_PIXELS, SIDE, Thumbnail, Unreadable, check_size};

/// The maximum number of pixels of a JPEG that cannot be decoded line by line. It is kept whole, at six bytes a pixel.
const MOST_PIXELS_KEPT: u64 = MOST_PIXELS / 4;

pub(crate) fn read(input: Input) -> Result<Thumbnail, Unreadable> {
    let mut decoder = Decoder::new(input);
    decoder.read_info().map_err(no_picture)?;
    let whole = decoder.info().ok_or(Unreadable::NoPicture)?;
    let (width, height) = (u32::from(whole.width), u32::from(whole.height));
    let most = match whole.coding_process {
        CodingProcess::DctSequential => MOST_PIXELS,
        CodingProcess::DctProgressive | CodingProcess::Lossless => MOST_PIXELS_KEPT,
    };
    check_size(width, height, most)?;
    let (columns, lines) = shrink(&mut decoder)?;
    let bytes = decoder.decode().map_err(no_picture)?;
    let size = whole.pixel_format.pixel_bytes();
    let mut sums = Sums::over(columns.into(), lines.into());
    for (y, line) in bytes.chunks_exact(size * usize::from(columns)).enumerate() {
        let pixels = line.chunks_exact(size).map(|pixel| colour(whole.pixel_format, pixel));
        sums.add(y as u32, 0..columns.into(), pixels);
    }
    Ok(sums.thumbnail(width, height))
}

/// Makes the decoder scale the picture down as far as possible without going below a thumbnail's size. Returns the
/// scaled size.
pub(crate) fn shrink(decoder: &mut Decoder<impl Read>) -> Result<(u16, u16), Unreadable> {
    decoder.scale(SIDE as u16, SIDE as u16).map_err(no_picture)
}

fn colour(format: PixelFormat, pixel: &[u8]) -> [u8; 3] {
    match (format, pixel) {
        (PixelFormat::L8, [light]) => [*light; 3],
        // Sixteen bits in native byte order.
        (PixelFormat::L16, [one, two]) => [(u16::from_ne_bytes([*one, *two]) >> 8) as u8; 3],
        (PixelFormat::CMYK32, [cyan, magenta, yellow, black]) => [cyan, magenta, yellow].map(|ink| {
            let light = (255 - u16::from(*ink)) * (255 - u16::from(*black)) / 255;
            light as u8
        }),
        (_, [red, green, blue, ..]) => [*red, *green, *blue],
        _ => [0; 3],
    }
}

fn no_picture(_: jpeg_decoder::Error) -> Unreadable {
    Unreadable::NoPicture
}
