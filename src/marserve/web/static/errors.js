// What a person is told about a failure.

import { t } from "./i18n.js";

/** @import { ServiceError } from "./api.js" */

/**
 * @param {ServiceError} error
 * @param {File} [file] the picture that failed
 */
export function errorText(error, file) {
  const isHeic = file && /\.(heic|heif|hif)$/i.test(file.name);
  return t(error.kind === "unsupported" && isHeic ? "error.heic" : `error.${error.kind}`);
}
