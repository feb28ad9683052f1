// The web service as this page uses it. Addresses are relative to this file, so that the page also works below a path
// prefix, with and without a slash in the end.

import { keyHeader } from "./key.js";

/**
 * @typedef {{class_id: number, wnid: string | null, label: string, probability: number}} Prediction
 * @typedef {"trained" | "untrained" | "demonstration" | "unknown"} Weights
 * @typedef {{model: string, version: string, weights: Weights, predictions: Prediction[], cache: "hit" | "miss",
 *   time_ms: number}} Answer
 * @typedef {{left: number, top: number, right: number, bottom: number}} Crop fractions of the upright picture
 * @typedef {{class_id: number, map: number[][], crop: Crop}} Explanation the map's rows run from top to bottom, 0 to 1
 * @typedef {{name: string, version: string, versions: string[], architecture: string | null, class_count: number | null,
 *   weights: Weights, precision: string | null, picture_formats?: string[], ready: boolean}} Model
 * @typedef {{default: string | null, models: Model[], limits?: {max_image_bytes: number, max_image_pixels: number}}} Models
 */

/** @param {string} path */
export const address = (path) => new URL(`../${path}`, import.meta.url).href;

/** Longer than the service's own deadline: only a service or network that hangs is cut off here. */
const TIMEOUT_MS = 30_000;

/** What a person can be told about a failure: the name of the message in i18n.js. */
const KIND_BY_TYPE = new Map([
  ["InvalidRequest", "noPicture"],
  ["InvalidImage", "damaged"],
  ["ImageTooLarge", "tooLarge"],
  ["UnsupportedImage", "unsupported"],
  ["InferenceFailed", "failed"],
  ["ModelUnavailable", "starting"],
]);
const KIND_BY_STATUS = new Map([
  [401, "keyNeeded"],
  [403, "keyNeeded"],
  [404, "notServed"],
  [408, "slowUpload"],
  [413, "tooLarge"],
  [415, "unsupported"],
  [429, "tooMany"],
  [503, "busy"],
  [504, "deadline"],
]);

/** Failures after which the same request may well succeed. */
const RETRYABLE = new Set([
  "busy",
  "deadline",
  "failed",
  "keyNeeded",
  "notServed",
  "offline",
  "slowUpload",
  "starting",
  "tooMany",
  "unreachable",
]);

export class ServiceError extends Error {
  /**
   * @param {string} kind the name of the message in i18n.js
   * @param {string} [requestId] what the operator of the service finds in its log
   */
  constructor(kind, requestId = "") {
    super(kind);
    this.kind = kind;
    this.requestId = requestId;
  }

  get retryable() {
    return RETRYABLE.has(this.kind);
  }
}

/**
 * @param {Response} response
 * @returns {Promise<ServiceError>}
 */
async function readError(response) {
  const requestId = response.headers.get("X-Request-ID") ?? "";
  let type = "";
  try {
    ({ type } = await response.json());
  } catch (error) {
    // A proxy in between answers with a page of its own: the status alone has to do.
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  const kind = KIND_BY_TYPE.get(type) ?? KIND_BY_STATUS.get(response.status) ?? "failed";
  return new ServiceError(kind, response.status >= 500 ? requestId : "");
}

/**
 * @template Content
 * @param {string} path
 * @param {(response: Response) => Promise<Content>} read
 * @param {RequestInit} [options]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Content>} of an answer with status 2xx; anything else throws a ServiceError, an aborted `signal` its
 *   reason
 */
async function send(path, read, options = {}, signal) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const response = await fetch(address(path), {
      ...options,
      headers: keyHeader(),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    if (!response.ok) throw await readError(response);
    return await read(response);
  } catch (error) {
    if (signal?.aborted) throw error;
    if (timeout.aborted) throw new ServiceError("deadline");
    if (error instanceof TypeError) throw new ServiceError(navigator.onLine ? "unreachable" : "offline");
    if (error instanceof SyntaxError) throw new ServiceError("failed"); // something else than the service answered
    throw error;
  }
}

/** @param {Response} response */
const readJson = (response) => response.json();

/**
 * @param {string} path
 * @param {Blob} picture
 * @param {Record<string, string>} query
 * @param {AbortSignal} signal
 */
function sendPicture(path, picture, query, signal) {
  const form = new FormData();
  form.append("file", picture);
  return send(`${path}?${new URLSearchParams(query)}`, readJson, { method: "POST", body: form }, signal);
}

/**
 * @param {Blob} picture
 * @param {{model?: string, topK: number, signal: AbortSignal}} options without `model` the service's default answers
 * @returns {Promise<Answer>}
 */
export function classify(picture, { model, topK, signal }) {
  return sendPicture("classify", picture, { top_k: String(topK), ...(model && { model }) }, signal);
}

/**
 * @param {Blob} picture
 * @param {{model: string, signal: AbortSignal}} options
 * @returns {Promise<Answer & {explanation: Explanation}>}
 */
export function explain(picture, { model, signal }) {
  return sendPicture("explain", picture, { format: "json", model }, signal);
}

/** @returns {Promise<Models>} */
export function listModels() {
  return send("models", readJson);
}

/** @returns {Promise<Record<string, string>>} the Chinese name of each class, by WordNet id */
export function chineseLabels() {
  return send("labels/zh.json", readJson);
}

/** @returns {Promise<File>} */
export async function examplePicture() {
  const picture = await send("example.jpg", (response) => response.blob());
  return new File([picture], "cat.jpg", { type: picture.type });
}
