// What a class is called in the reader's language.

import { chineseLabels, ServiceError } from "./api.js";
import { language } from "./i18n.js";

/** @import { NamedClass } from "./api.js" */

/** @type {Record<string, string>} */
let chinese = {};
/** @type {Promise<void> | undefined} */
let loading;

/** Fetch the names that the current language needs; without them classes keep their English names. */
export function loadLabels() {
  if (language() !== "zh") return Promise.resolve();
  loading ??= chineseLabels().then(
    (labels) => {
      chinese = labels;
    },
    (error) => {
      loading = undefined; // the next picture asks again
      if (!(error instanceof ServiceError)) throw error;
    },
  );
  return loading;
}

/**
 * @param {NamedClass} named
 * @returns {string}
 */
export function className({ wnid, label }) {
  return (language() === "zh" && wnid && chinese[wnid]) || label;
}
