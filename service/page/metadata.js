// Strips metadata from pictures, such as the location of a camera. The labeler does the same for uploads from other
// programs: labeler/src/metadata.rs.
//
// Works on the segments of a file and never touches the pixels. For each format it keeps the segments on an allow list and
// the orientation from the EXIF data, and drops all others and everything after the end of the picture.

/** Detects "image/jpeg" or "image/png" by the first bytes; null for every other format. */
export function formatOf(bytes) {
  if (begins(bytes, [0xff, 0xd8, 0xff])) return "image/jpeg";
  return begins(bytes, PNG) ? "image/png" : null;
}

/** Returns the picture without its metadata; null if it cannot be parsed. */
export function clean(bytes) {
  try {
    return new Blob(formatOf(bytes) === "image/png" ? png(bytes) : jpeg(bytes));
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/* JPEG: segments, each with a marker and a length, and compressed data behind SOS. */

const [EOI, SOS, APP0, APP1, APP2, APP14, APP15, COM] = [0xd9, 0xda, 0xe0, 0xe1, 0xe2, 0xee, 0xef, 0xfe];
const EXIF = ascii("Exif\0\0");
/** The application segments that affect colours. */
const KEPT = { [APP0]: ascii("JFIF\0"), [APP2]: ascii("ICC_PROFILE\0"), [APP14]: ascii("Adobe") };

function jpeg(bytes) {
  const parts = [bytes.subarray(0, 2)];
  const view = viewOf(bytes);
  let at = 2;
  let [scanned, oriented] = [false, false];
  while (true) {
    at = bytes.indexOf(0xff, at);
    while (at >= 0 && bytes[at + 1] === 0xff) at += 1;
    if (at < 0 || at + 1 >= bytes.length) {
      if (scanned) return parts;
      throw new RangeError("there are no pixels");
    }
    const marker = bytes[at + 1];
    if (marker === 0x00 || marker === 0xd8) at += 2;
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= EOI)) {
      parts.push(bytes.subarray(at, at + 2));
      if (marker === EOI) return parts;
      at += 2;
    } else {
      const end = at + 2 + view.getUint16(at + 2);
      const segment = slice(bytes, at, end);
      const content = segment.subarray(4);
      if (marker === APP1 && begins(content, EXIF)) {
        const orientation = orientationIn(content.subarray(EXIF.length));
        if (orientation && !oriented) parts.push(new Uint8Array([0xff, APP1, 0, 34]), EXIF, exif(orientation));
        oriented ||= Boolean(orientation);
      } else if (marker === SOS) {
        scanned = true;
        at = endOfScan(bytes, end);
        parts.push(segment, bytes.subarray(end, at));
        continue;
      } else if ((marker < APP0 || marker > APP15) && marker !== COM) parts.push(segment);
      else if (KEPT[marker] && begins(content, KEPT[marker])) parts.push(segment);
      at = end;
    }
  }
}

/** The offset of the marker after compressed data; stuffed zeros and restart markers are part of the data. */
function endOfScan(bytes, at) {
  for (at = bytes.indexOf(0xff, at); at >= 0 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next !== 0x00 && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  return bytes.length;
}

/* PNG: chunks, each with a length, a type and a checksum. */

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** The chunks for pixels, colours, physical size and animation. */
const CHUNKS = new Set("IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split(" "));

function png(bytes) {
  const parts = [bytes.subarray(0, PNG.length)];
  const view = viewOf(bytes);
  let oriented = false;
  for (let at = PNG.length; ; ) {
    const end = at + 12 + view.getUint32(at);
    const chunk = slice(bytes, at, end);
    const name = String.fromCharCode(...chunk.subarray(4, 8));
    if (name === "eXIf") {
      const orientation = orientationIn(chunk.subarray(8, -4));
      if (orientation && !oriented) parts.push(chunkOf(name, exif(orientation)));
      oriented ||= Boolean(orientation);
    } else if (CHUNKS.has(name)) parts.push(chunk);
    if (name === "IEND") return parts;
    at = end;
  }
}

function chunkOf(name, content) {
  const chunk = new Uint8Array(12 + content.length);
  chunk.set(ascii(name), 4);
  chunk.set(content, 8);
  const view = viewOf(chunk);
  view.setUint32(0, content.length);
  view.setUint32(8 + content.length, checksum(chunk.subarray(4, -4)));
  return chunk;
}

/** CRC-32, bit by bit: the input is about thirty bytes. */
function checksum(bytes) {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

/* EXIF data: a TIFF file with an entry for the orientation. */

/** The orientation, 2 to 8; null if it is the default. */
function orientationIn(tiff) {
  try {
    const view = viewOf(tiff);
    const little = view.getUint32(0) === 0x49492a00;
    if (!little && view.getUint32(0) !== 0x4d4d002a) return null;
    const directory = view.getUint32(4, little);
    for (let left = view.getUint16(directory, little), at = directory + 2; left > 0; left -= 1, at += 12) {
      if (view.getUint16(at, little) !== 0x0112) continue;
      const isShort = view.getUint16(at + 2, little) === 3 && view.getUint32(at + 4, little) === 1;
      const value = view.getUint16(at + 8, little);
      return isShort && value >= 2 && value <= 8 ? value : null;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return null;
}

/** EXIF data with the orientation and nothing else. */
function exif(orientation) {
  return new Uint8Array([0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
}

/* Bytes */

function begins(bytes, beginning) {
  return beginning.every((byte, at) => bytes[at] === byte);
}

/** A range that must be complete. */
function slice(bytes, from, to) {
  if (to > bytes.length || to < from) throw new RangeError("the file is cut off");
  return bytes.subarray(from, to);
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function ascii(text) {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
