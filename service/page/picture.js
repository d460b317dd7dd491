// Converts a chosen file to a JPEG or PNG of a sensible size.

import { clean, formatOf } from "/metadata.js";

const LARGEST_BYTES = 4 * 1024 * 1024;
/** The longest side in pixels: more than any screen shows of a picture in the page. */
const LONGEST_SIDE = 2560;

/**
 * Returns the file without its metadata if it is suitable, else a smaller picture made from it, upright; null if it is not
 * a picture. The `ratio` of its sides is that of the picture as it is displayed.
 */
export async function prepare(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return null;
  try {
    const fits = file.size <= LARGEST_BYTES && Math.max(picture.width, picture.height) <= LONGEST_SIDE;
    const prepared = (fits && (await cleaned(file))) || (await redraw(picture, file.name));
    return prepared && Object.assign(prepared, { ratio: picture.width / picture.height });
  } finally {
    picture.close();
  }
}

/** Returns a JPEG or PNG without its metadata; null for other formats, whatever the file's name. */
async function cleaned(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const type = formatOf(bytes);
  const picture = type && clean(bytes);
  // In one piece: Firefox cannot make a bitmap from a Blob of several parts.
  return picture && new File([await picture.arrayBuffer()], file.name, { type });
}

/** The first picture among dropped or pasted items. */
export function pictureIn(transfer) {
  return Array.from(transfer?.files ?? []).find((file) => file.type.startsWith("image/") || !file.type) ?? null;
}

/** The bitmap is upright already: browsers apply the orientation when they decode. */
async function redraw(picture, name) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const paper = canvas.getContext("2d");
  paper.imageSmoothingQuality = "high";
  // JPEG has no transparency: make the background white instead of black.
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.88));
  return blob && new File([blob], `${(name || "picture").replace(/\.[^.]*$/, "")}.jpg`, { type: "image/jpeg" });
}
