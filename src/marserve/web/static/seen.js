// Which part of a picture the network sees: the middle, as handler/resnet18/resizing.py places it.

/** @import { Crop, Preprocessing } from "./api.js" */

/** @type {Crop} */
export const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };

/**
 * @param {{width: number, height: number}} size of an upright picture, in pixels
 * @param {Preprocessing} preprocessing
 * @returns {Crop}
 */
export function middle({ width, height }, { resize_size, crop_size }) {
  const shorter = Math.min(width, height);
  /** @param {number} side */
  const marginOf = (side) => {
    const resized = Math.floor((resize_size * side) / shorter);
    const margin = Math.round((resized - crop_size) / 2);
    return [margin / resized, (margin + crop_size) / resized];
  };
  const [left, right] = marginOf(width);
  const [top, bottom] = marginOf(height);
  return { left, top, right, bottom };
}

/**
 * @param {Crop} region of a picture
 * @param {Crop} part of that region
 * @returns {Crop} `part` in fractions of the picture
 */
export function within({ left, top, right, bottom }, part) {
  const width = right - left;
  const height = bottom - top;
  return {
    left: left + part.left * width,
    top: top + part.top * height,
    right: left + part.right * width,
    bottom: top + part.bottom * height,
  };
}

/**
 * @param {Crop} frame a square
 * @param {Preprocessing} preprocessing
 * @returns {Crop} the region of whose pixels the network sees exactly `frame`; may reach beyond the picture
 */
export function around({ left, top, right, bottom }, { resize_size, crop_size }) {
  const margin = (resize_size / crop_size - 1) / 2;
  const [x, y] = [(right - left) * margin, (bottom - top) * margin];
  return { left: left - x, top: top - y, right: right + x, bottom: bottom + y };
}

/** @param {Crop} crop */
export function area({ left, top, right, bottom }) {
  return (right - left) * (bottom - top);
}

/**
 * Lay `box` over that part of the element it is in.
 * @param {HTMLElement} box
 * @param {Crop} crop
 */
export function lay({ style }, { left, top, right, bottom }) {
  style.left = `${left * 100}%`;
  style.top = `${top * 100}%`;
  style.width = `${(right - left) * 100}%`;
  style.height = `${(bottom - top) * 100}%`;
}
