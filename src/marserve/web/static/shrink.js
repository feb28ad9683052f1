// Photographs that are larger than the service accepts are made smaller here, before they are sent.

import { ServiceError } from "./api.js";

/** The network sees 224 pixels; ten times that keeps every detail that it can use. */
const LONGER_SIDE = 2240;
const JPEG_QUALITY = 0.9;

/**
 * @param {Blob} picture
 * @param {number} maxBytes what the service accepts
 * @returns {Promise<Blob>} `picture` itself if it is small enough, else a smaller JPEG of it, upright
 */
export async function shrinkToFit(picture, maxBytes) {
  if (picture.size <= maxBytes) return picture;
  const bitmap = await decode(picture);
  const scale = Math.min(1, LONGER_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const smaller = await toJpeg(canvas);
  if (!smaller || smaller.size > maxBytes) throw new ServiceError("tooLarge");
  return smaller;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<Blob | null>}
 */
export function toJpeg(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
}

/** @param {Blob} picture */
async function decode(picture) {
  try {
    return await createImageBitmap(picture, { imageOrientation: "from-image" });
  } catch (error) {
    // Nothing that this browser can read, so nothing that it could make smaller.
    if (error instanceof DOMException) throw new ServiceError("tooLarge");
    throw error;
  }
}
