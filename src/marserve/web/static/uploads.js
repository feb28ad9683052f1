// What is sent of a picture: the file itself, or a smaller JPEG of it where that saves time and changes no answer.

import { ServiceError } from "./api.js";

/** @import { Crop } from "./api.js" */

/** A file this small is sent as it is: at 1 Mbit/s it takes 4 seconds. */
const SMALL_BYTES = 500_000;
/** The network sees 224 pixels of the shorter side; docs/design.md has how often the answer stayed the same. */
const LONGER_SIDE = 1024;
const JPEG_QUALITY = 0.9;
/** Browsers halve the resolution of colors below it, which changes labels of pictures that are not made smaller. */
const FINEST_QUALITY = 1;

/** What the service accepts: its own default, for as long as it has not said otherwise. */
export const limits = { maxBytes: 16_000_000 };

/**
 * @param {File} file
 * @param {{crop?: Crop, asIs?: "small" | "all" | "none"}} [wish] `crop`: this part of the upright picture alone, which
 *   may reach beyond it; `asIs`: which files are sent as they are: small ones, all that the service accepts, or none
 * @returns {Promise<Blob>} `file` itself, or an upright JPEG of it; throws a ServiceError if neither can be accepted
 */
export async function prepareUpload(file, { crop, asIs = "small" } = {}) {
  const { maxBytes } = limits;
  const most = { small: Math.min(SMALL_BYTES, maxBytes), all: maxBytes, none: -1 }[asIs];
  if (!crop && file.size <= most) return file;
  const bitmap = await decode(file);
  if (!bitmap) {
    // Nothing that this browser can read, so nothing that it could make smaller.
    if (asIs !== "none" && file.size <= maxBytes) return file;
    throw new ServiceError("tooLarge");
  }
  const canvas = draw(bitmap, crop);
  bitmap.close();
  const isReduced = Math.max(canvas.width, canvas.height) === LONGER_SIDE;
  const finest = isReduced ? null : await toJpeg(canvas, FINEST_QUALITY);
  const smaller = finest && finest.size <= SMALL_BYTES ? finest : await toJpeg(canvas);
  if (!smaller || smaller.size > maxBytes) throw new ServiceError("tooLarge");
  return smaller;
}

/**
 * @param {ImageBitmap} bitmap
 * @param {Crop} [crop]
 */
function draw(bitmap, { left, top, right, bottom } = { left: 0, top: 0, right: 1, bottom: 1 }) {
  const width = (right - left) * bitmap.width;
  const height = (bottom - top) * bitmap.height;
  const scale = Math.min(1, LONGER_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  if (context) {
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff"; // what the service puts behind transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
    const { width: toWidth, height: toHeight } = canvas;
    const isInside = left >= 0 && top >= 0 && right <= 1 && bottom <= 1;
    // What lies beyond is never seen, but mixes into the outermost pixels that are: so it gets colors from near by.
    if (!isInside) context.drawImage(bitmap, ...inside(bitmap, { left, top, right, bottom }), 0, 0, toWidth, toHeight);
    context.drawImage(bitmap, left * bitmap.width, top * bitmap.height, width, height, 0, 0, toWidth, toHeight);
  }
  return canvas;
}

/**
 * @param {ImageBitmap} bitmap
 * @param {Crop} crop
 * @returns {[number, number, number, number]} left, top, width and height, in pixels, of what is there of it
 */
function inside({ width, height }, { left, top, right, bottom }) {
  const [x, y] = [Math.max(0, left) * width, Math.max(0, top) * height];
  return [x, y, Math.min(1, right) * width - x, Math.min(1, bottom) * height - y];
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} [quality]
 * @returns {Promise<Blob | null>}
 */
export function toJpeg(canvas, quality = JPEG_QUALITY) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}

/**
 * @param {Blob} picture
 * @returns {Promise<ImageBitmap | undefined>} upright; undefined if this browser cannot read it
 */
async function decode(picture) {
  try {
    return await createImageBitmap(picture, { imageOrientation: "from-image" });
  } catch (error) {
    if (error instanceof DOMException) return undefined;
    throw error;
  }
}
