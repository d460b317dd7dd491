//! PNG, decoded line by line.

use std::io::Cursor;
use std::sync::atomic::{AtomicBool, Ordering};

use png::{ColorType, Decoder, DecodingError, Limits, Transformations};

use super::sums::Sums;
use super::{MOST_PIXELS, Thumbnail, Unreadable, check_size};

/// The memory limit for lines, text and colour profiles, in bytes.
const MEMORY: usize = 64 << 20;

/// The positions of a pass's pixels: the first column and line, and the steps to the next ones.
type Pass = (u32, u32, u32, u32);

const WHOLE: &[Pass] = &[(0, 0, 1, 1)];

/// The passes of an interlaced picture (PNG specification, "Interlacing and pass extraction").
const INTERLACED: &[Pass] =
    &[(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)];

pub(crate) fn read(bytes: &[u8], stop: &AtomicBool) -> Result<Thumbnail, Unreadable> {
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MEMORY });
    // Convert to eight bits per channel, and palettes to colours.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut header = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: MEMORY });
    let whole = header.read_header_info().map_err(no_picture)?;
    check_size(whole.width, whole.height, MOST_PIXELS)?;
    let mut reader = decoder.read_info().map_err(no_picture)?;
    let (width, height, interlaced) = (reader.info().width, reader.info().height, reader.info().interlaced);
    let (colour, _) = reader.output_color_type();
    let size = colour.samples();
    let mut sums = Sums::over(width, height);
    for (x, y, step) in lines(if interlaced { INTERLACED } else { WHOLE }, width, height) {
        if stop.load(Ordering::Relaxed) {
            return Err(Unreadable::Stopped);
        }
        let row = reader.next_row().map_err(no_picture)?.ok_or(Unreadable::NoPicture)?;
        let pixels = row.data().chunks_exact(size).map(|pixel| rgb(colour, pixel));
        sums.add(y, (x..width).step_by(step), pixels);
    }
    Ok(sums.thumbnail(width, height))
}

/// Returns the lines in file order: the first column, the line's position in the picture, and the step between columns.
fn lines(passes: &[Pass], width: u32, height: u32) -> impl Iterator<Item = (u32, u32, usize)> {
    let there = passes.iter().filter(move |(x, y, _, _)| *x < width && *y < height);
    there.flat_map(move |(x, y, dx, dy)| (*y..height).step_by(*dy as usize).map(|line| (*x, line, *dx as usize)))
}

fn rgb(colour: ColorType, pixel: &[u8]) -> [u8; 3] {
    match (colour, pixel) {
        (ColorType::Grayscale | ColorType::GrayscaleAlpha, [light, ..]) => [*light; 3],
        (_, [red, green, blue, ..]) => [*red, *green, *blue],
        _ => [0; 3],
    }
}

fn no_picture(_: DecodingError) -> Unreadable {
    Unreadable::NoPicture
}
