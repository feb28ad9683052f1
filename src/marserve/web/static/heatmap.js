// The class activation map as colors.

/** Pixels on a side: the size of the network's input, which the map covers. */
const SIDE = 224;

/** Matplotlib's "inferno" at five points: dark violet to pale yellow, even in lightness, safe for color-blind eyes. */
const COLORS = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];

/** Below this strength the picture shows through untouched; it is reached smoothly. */
const CLEAR_BELOW = 0.15;

/** The colors from weak to strong, as CSS. */
export const GRADIENT = `linear-gradient(to right, ${COLORS.map((rgb) => `rgb(${rgb.join(" ")})`).join(", ")})`;

/**
 * @param {HTMLCanvasElement} canvas becomes SIDE × SIDE pixels, the more opaque the stronger the map
 * @param {number[][]} map rows from top to bottom, 0 to 1
 */
export function paintHeatmap(canvas, map) {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext("2d");
  if (!context) return;
  const pixels = context.createImageData(SIDE, SIDE);
  const wide = map.map((row) => resample(row.map((value) => [value]), SIDE).flat());
  const values = resample(wide, SIDE).flat();
  values.forEach((value, index) => {
    const strength = Math.min(1, Math.max(0, value));
    pixels.data.set([...color(strength), 255 * opacity(strength)], index * 4);
  });
  context.putImageData(pixels, 0, 0);
}

/**
 * Stretch a list of rows to `length` rows by cubic interpolation (Catmull-Rom) between the centres of the cells.
 * @param {number[][]} rows
 * @param {number} length
 */
function resample(rows, length) {
  const last = rows.length - 1;
  return Array.from({ length }, (_, index) => {
    const position = ((index + 0.5) / length) * rows.length - 0.5;
    const cell = Math.floor(position);
    const t = position - cell;
    const weights = [
      ((2 - t) * t - 1) * t * 0.5,
      ((3 * t - 5) * t * t + 2) * 0.5,
      ((4 - 3 * t) * t + 1) * t * 0.5,
      (t - 1) * t * t * 0.5,
    ];
    const around = weights.map((_, offset) => rows[Math.min(last, Math.max(0, cell - 1 + offset))]);
    return around[0].map((_, column) => weights.reduce((sum, weight, k) => sum + weight * around[k][column], 0));
  });
}

/** @param {number} strength 0 to 1 */
function color(strength) {
  const position = strength * (COLORS.length - 1);
  const index = Math.min(COLORS.length - 2, Math.floor(position));
  const [from, to] = [COLORS[index], COLORS[index + 1]];
  return from.map((channel, k) => channel + (to[k] - channel) * (position - index));
}

/** @param {number} strength 0 to 1 */
function opacity(strength) {
  const t = Math.min(1, Math.max(0, (strength - CLEAR_BELOW) / (0.6 - CLEAR_BELOW)));
  return t * t * (3 - 2 * t);
}
