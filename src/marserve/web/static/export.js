// Answers to take away: as text for a spreadsheet or a message, as CSV, as JSON. docs/reference.md has the columns.

import { element } from "./dom.js";
import { errorText } from "./errors.js";
import { percent, t } from "./i18n.js";
import { className } from "./labels.js";
import { view } from "./view.js";

/** @import { Answer } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

/** What a spreadsheet would run, or take apart, when it stands first in a cell. */
const FORMULA = /^[=+\-@\t\r]/;
/** Without it Excel takes the file for one of an old Chinese, or Western, encoding. */
const BYTE_ORDER_MARK = "\ufeff";
const FIRST_COLUMNS = ["name", "status", "model", "version", "weights", "time_ms", "error", "message"];

/**
 * @param {Iterable<Picture>} pictures
 * @returns {(string | number)[][]} a row of names of columns, and one for each picture
 */
function table(pictures) {
  const ranks = Array.from({ length: view.topK }, (_, index) => index + 1);
  const header = [...FIRST_COLUMNS, ...ranks.flatMap((rank) => [`label_${rank}`, `confidence_${rank}`])];
  return [
    header,
    ...[...pictures].map((picture) => {
      const { name, outcome, state } = picture;
      const answer = state.phase === "done" ? state.answer : undefined;
      const error = state.phase === "failed" ? state.error : undefined;
      const shown = answer ? view.select(answer) : [];
      return [
        safe(name),
        outcome,
        safe(answer?.model ?? ""),
        safe(answer?.version ?? ""),
        answer?.weights ?? "",
        answer?.time_ms ?? "",
        error?.type ?? "",
        error ? errorText(error, picture.file) : "",
        ...ranks.flatMap((rank) => {
          const one = shown[rank - 1];
          return one ? [safe(className(one)), Number((100 * one.probability).toFixed(2))] : ["", ""];
        }),
      ];
    }),
  ];
}

/** @param {string} text of others: a file's name, or a class of somebody's model */
function safe(text) {
  return FORMULA.test(text) ? `'${text}` : text;
}

/** @param {Iterable<Picture>} pictures */
export function asText(pictures) {
  return table(pictures)
    .map((cells) => cells.map((cell) => String(cell).replaceAll(/[\t\r\n]+/g, " ")).join("\t"))
    .join("\n");
}

/**
 * RFC 4180, in UTF-8.
 * @param {Iterable<Picture>} pictures
 */
export function asCsv(pictures) {
  /** @param {string | number} cell */
  const quoted = (cell) => (/[",\r\n]/.test(String(cell)) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
  return BYTE_ORDER_MARK + table(pictures).map((cells) => `${cells.map(quoted).join(",")}\r\n`).join("");
}

/**
 * Everything that the service answered, whatever is shown of it.
 * @param {Iterable<Picture>} pictures
 */
export function asJson(pictures) {
  const entries = [...pictures].map(({ name, file, outcome, state }) => ({
    name,
    status: outcome,
    ...(state.phase === "done" && state.answer),
    ...(state.phase === "failed" && { error: { type: state.error.type, message: errorText(state.error, file) } }),
  }));
  return `${JSON.stringify(entries, null, 2)}\n`;
}

/**
 * @param {Answer} answer
 * @returns {string} the first label and its confidence in a line; empty where it is hidden
 */
export function asLine(answer) {
  const [first] = view.select(answer);
  if (!first) return "";
  const values = { label: className(first), percent: percent(first.probability) };
  return t(answer.weights === "untrained" ? "lineUntrained" : "line", values);
}

/**
 * @param {string} content
 * @param {"csv" | "json"} suffix
 */
export function download(content, suffix) {
  const type = { csv: "text/csv", json: "application/json" }[suffix];
  const href = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  element("a", { href, download: `marserve-${timestamp(new Date())}.${suffix}` }).click();
  setTimeout(() => URL.revokeObjectURL(href));
}

/** @param {Date} date */
function timestamp(date) {
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(two).join("-");
  return `${day}-${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join("")}`;
}
