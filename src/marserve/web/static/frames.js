// Whether a file holds more than one picture, read from its own words: of all of them only the first is recognized.

/** Enough for the parts that come before the pictures. */
const HEAD_BYTES = 4096;
/** Animated GIFs are told by their second picture, wherever the first one ends. */
const MAX_GIF_BYTES = 16_000_000;
/** ISO base media brands of picture sequences: AVIF and HEIF. */
const SEQUENCES = new Set(["avis", "msf1", "hevc", "hevx"]);

/**
 * @param {Blob} file
 * @returns {Promise<"frame" | "page" | undefined>} what the first one is called; undefined where there is just one
 */
export async function firstOfSeveral(file) {
  const head = await bytesOf(file.slice(0, HEAD_BYTES));
  if (head.byteLength < 16) return undefined;
  const start = text(head, 0, 4);
  if (start === "GIF8") {
    return countsSecondImage(await bytesOf(file.slice(0, MAX_GIF_BYTES))) ? "frame" : undefined;
  }
  if (start === "\x89PNG") return pngIsAnimated(head) ? "frame" : undefined;
  if (start === "RIFF" && text(head, 8, 8) === "WEBPVP8X") return head.getUint8(20) & 2 ? "frame" : undefined;
  if (text(head, 4, 4) === "ftyp") return SEQUENCES.has(text(head, 8, 4)) ? "frame" : undefined;
  if (start === "II*\0" || start === "MM\0*") return (await hasSecondPage(file, head)) ? "page" : undefined;
  return undefined;
}

/** @param {Blob} blob */
async function bytesOf(blob) {
  return new DataView(await blob.arrayBuffer());
}

/**
 * @param {DataView} data
 * @param {number} offset
 * @param {number} length
 */
function text(data, offset, length) {
  if (offset + length > data.byteLength) return "";
  return String.fromCharCode(...new Uint8Array(data.buffer, offset, length));
}

/** @param {DataView} data of a whole GIF: header, then blocks that are skipped by their lengths */
function countsSecondImage(data) {
  /** @param {number} packed */
  const tableBytes = (packed) => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);
  let offset = 13 + tableBytes(data.getUint8(10));
  let images = 0;
  while (offset + 10 < data.byteLength) {
    const kind = data.getUint8(offset);
    if (kind === 0x2c) {
      if (++images === 2) return true;
      offset += 11 + tableBytes(data.getUint8(offset + 9)); // descriptor, colors, code size
    } else if (kind === 0x21) offset += 2;
    else return false;
    while (offset < data.byteLength && data.getUint8(offset) > 0) offset += data.getUint8(offset) + 1;
    offset += 1;
  }
  return false;
}

/** @param {DataView} data */
function pngIsAnimated(data) {
  for (let offset = 8; offset + 12 <= data.byteLength; offset += 12 + data.getUint32(offset)) {
    const kind = text(data, offset + 4, 4);
    if (kind === "acTL") return data.getUint32(offset + 8) > 1;
    if (kind === "IDAT") return false;
  }
  return false;
}

/**
 * @param {Blob} file
 * @param {DataView} head of a TIFF; its pages are a chain of directories, the last of which names no next one
 */
async function hasSecondPage(file, head) {
  const little = text(head, 0, 2) === "II";
  const first = head.getUint32(4, little);
  const count = await bytesOf(file.slice(first, first + 2));
  if (count.byteLength < 2) return false;
  const end = first + 2 + 12 * count.getUint16(0, little);
  const next = await bytesOf(file.slice(end, end + 4));
  return next.byteLength === 4 && next.getUint32(0, little) > 0;
}
