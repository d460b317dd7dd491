// Converts a chosen file to a JPEG or PNG of a sensible size.

import { clean, formatOf } from "/metadata.js";

const LARGEST_BYTES = 4 * 1024 * 1024;
const LONGEST_SIDE = 2560;

/** Returns the file without its metadata if it is suitable, else a JPEG made from it; null if it is not a picture. */
export async function prepare(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return null;
  try {
    return (file.size <= LARGEST_BYTES && (await cleaned(file))) || (await redraw(picture, file.name));
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

async function redraw(picture, name) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const paper = canvas.getContext("2d");
  // JPEG has no transparency: make the background white instead of black.
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.88));
  return blob && new File([blob], `${(name || "picture").replace(/\.[^.]*$/, "")}.jpg`, { type: "image/jpeg" });
}
