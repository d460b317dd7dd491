//! GIF (version 89a): a logical screen, and blocks that consist of sub-blocks.

use super::Broken;
use super::reader::Reader;

/// Application extensions that browsers honour: loops and colours.
const EXTENSIONS: &[&[u8]] = &[b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

pub(super) fn gif(bytes: &[u8]) -> Result<Vec<u8>, Broken> {
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
