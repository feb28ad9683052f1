// The language that the page speaks, and how words and numbers are written in it.

import { Remembered } from "./remembered.js";
import { TEXTS } from "./texts.js";

/** @import { Key } from "./texts.js" */
/** @typedef {"en" | "zh"} Language */
/** @typedef {Record<string, string | number>} Values */

const remembered = new Remembered("browser", "language");

/** As BCP 47 tags, for the page's `lang` and for numbers. */
const TAGS = { en: "en", zh: "zh-CN" };

/** @type {Language} */
let current = chosenBefore() ?? preferred();
/** @type {(() => void)[]} */
const listeners = [];

function chosenBefore() {
  const stored = remembered.read();
  return stored === "en" || stored === "zh" ? stored : undefined;
}

/** @returns {Language} the first language of the browser's list that the page speaks */
function preferred() {
  const spoken = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag === "zh" || tag === "en");
  return spoken === "zh" ? "zh" : "en";
}

export function language() {
  return current;
}

/** @param {Language} chosen */
export function setLanguage(chosen) {
  current = chosen;
  remembered.write(chosen);
  for (const listener of listeners) listener();
}

/** @param {() => void} listener called after each change of the language */
export function onLanguageChange(listener) {
  listeners.push(listener);
}

/**
 * @param {string} key a Key
 * @param {Values} [values] what replaces each {name} of the text
 */
export function t(key, values = {}) {
  const text = TEXTS[/** @type {Key} */ (key)];
  if (!text) throw new Error(`texts.js has no "${key}"`);
  return text[current].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Write the current language into every element that names its text in `data-text` (or `data-label`). */
export function translatePage() {
  document.documentElement.lang = TAGS[current];
  const name = document.querySelector('meta[name="application-name"]')?.getAttribute("content") ?? "Marserve";
  document.title = t("documentTitle", { name });
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.getAttribute("data-text") ?? "");
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", t(node.getAttribute("data-label") ?? ""));
  }
}

/**
 * @param {number} probability 0 to 1
 * @param {number} [digits] after the point
 */
export function percent(probability, digits = 1) {
  const format = new Intl.NumberFormat(TAGS[current], {
    style: "percent",
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return digits === 1 && probability > 0 && probability < 0.001 ? `<${format.format(0.001)}` : format.format(probability);
}

/** @param {string[]} names one after the other, such as "a and b" */
export function list(names) {
  return new Intl.ListFormat(TAGS[current]).format(names);
}

/** @param {number} count */
export function integer(count) {
  return new Intl.NumberFormat(TAGS[current]).format(count);
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  const long = milliseconds >= 1000;
  const format = new Intl.NumberFormat(TAGS[current], {
    style: "unit",
    unit: long ? "second" : "millisecond",
    maximumFractionDigits: long ? 1 : 0,
  });
  const text = spaced(format.format(Math.max(1, long ? milliseconds / 1000 : milliseconds)));
  return milliseconds < 1 ? `<${text}` : text;
}

/** @param {number} bytes */
export function byteSize(bytes) {
  const large = bytes >= 1e6;
  const format = new Intl.NumberFormat(TAGS[current], {
    style: "unit",
    unit: large ? "megabyte" : "kilobyte",
    maximumFractionDigits: large ? 1 : 0,
  });
  return spaced(format.format(bytes / (large ? 1e6 : 1e3)));
}

/**
 * In Chinese, Intl leaves out the space between a number and its unit.
 * @param {string} text
 */
function spaced(text) {
  return text.replace(/(\d)(?=\p{Letter})/gu, "$1 ");
}
