// The web service as this page uses it. Addresses are relative to this file, so that the page also works below a path
// prefix, with and without a slash in the end.

import { keyHeader } from "./key.js";

/**
 * @typedef {{class_id: number, wnid: string | null, label: string, probability: number}} Prediction
 * @typedef {"trained" | "untrained" | "demonstration" | "unknown"} Weights
 * @typedef {{model: string, version: string, weights: Weights, predictions: Prediction[], cache: "hit" | "miss",
 *   time_ms: number}} Answer
 * @typedef {{left: number, top: number, right: number, bottom: number}} Crop fractions of the upright picture
 * @typedef {{resize_size: number, crop_size: number}} Preprocessing pixels: what the shorter side becomes, and what is cut
 *   out of the middle
 * @typedef {{class_id: number, map: number[][], crop: Crop}} Explanation the map's rows run from top to bottom, 0 to 1
 * @typedef {{name: string, version: string, versions: string[], architecture: string | null, class_count: number | null,
 *   weights: Weights, precision: string | null, picture_formats?: string[], preprocessing?: Preprocessing | null,
 *   ready: boolean}} Model
 * @typedef {Record<"en" | "zh", string>} Words
 * @typedef {{file: string, name: Words, alt: Words, hard?: boolean, author: string, license: string, license_url: string,
 *   source_url: string, changes?: Words}} Example
 * @typedef {{default: string | null, models: Model[], limits?: {max_image_bytes: number, max_image_pixels: number},
 *   feedback?: boolean, fetches_urls?: boolean}} Models
 * @typedef {{class_id: number, wnid: string | null, label: string}} NamedClass
 */

/** @param {string} path */
export const address = (path) => new URL(`../${path}`, import.meta.url).href;

/**
 * Longer than the service's usual deadline: only a service that hangs is cut off here. It counts once all is sent, and the
 * service learns it, so that one with more patience computes nothing for a page that has given up.
 */
const ANSWER_TIMEOUT_MS = 30_000;
/** An upload of which nothing has moved for so long is cut off; one that moves may take as long as the service allows. */
const STALL_TIMEOUT_MS = 20_000;
/** An upload that was this long under way when the connection broke was too slow for the service, or a proxy before it. */
const SLOW_UPLOAD_MS = 10_000;

/** What a person can be told about a failure: the name of the message in i18n.js. */
const KIND_BY_TYPE = new Map([
  ["InvalidRequest", "noPicture"],
  ["InvalidImage", "damaged"],
  ["ImageTooLarge", "tooLarge"],
  ["UnsupportedImage", "unsupported"],
  ["PictureQuarantined", "quarantined"],
  ["InferenceFailed", "failed"],
  ["NotExplainable", "notExplainable"],
  ["FeedbackOff", "reportsOff"],
  ["StorageFull", "reportsFull"],
  ["PictureNotFetched", "notFetched"],
  ["ModelUnavailable", "starting"],
  ["ApiKeyRequired", "keyNeeded"],
  ["UnknownModel", "notServed"],
  ["UploadTimeout", "slowUpload"],
  ["RateLimited", "tooMany"],
  ["Overloaded", "busy"],
  ["DeadlineExceeded", "deadline"],
]);
const TYPE_BY_KIND = new Map([...KIND_BY_TYPE].map(([type, kind]) => [kind, type]));
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

/** ... and which pass by themselves, so that the page tries again without being asked. */
const PASSING = new Set(["busy", "deadline", "offline", "starting", "tooMany", "unreachable"]);

export class ServiceError extends Error {
  /**
   * @param {string} kind the name of the message in i18n.js
   * @param {{requestId?: string, retryAfterMs?: number}} [details] `requestId` is what the operator of the service finds
   *   in its log; `retryAfterMs` how long it wants to be left alone
   */
  constructor(kind, { requestId = "", retryAfterMs = 0 } = {}) {
    super(kind);
    this.kind = kind;
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }

  /** The service's name for it, which programs know; the client's own where no service answered. */
  get type() {
    return TYPE_BY_KIND.get(this.kind) ?? "Unreachable";
  }

  get retryable() {
    return RETRYABLE.has(this.kind);
  }

  get passing() {
    return PASSING.has(this.kind);
  }
}

/**
 * @param {number} status
 * @param {(name: string) => string | null} header
 * @param {string} body
 */
function readError(status, header, body) {
  const kind = KIND_BY_TYPE.get(errorType(body)) ?? KIND_BY_STATUS.get(status) ?? "failed";
  return new ServiceError(kind, {
    requestId: (status >= 500 && header("X-Request-ID")) || "",
    retryAfterMs: 1000 * (Number.parseInt(header("Retry-After") ?? "") || 0),
  });
}

/** @param {string} body of an error; a proxy in between answers with a page of its own, and then the status has to do */
function errorType(body) {
  try {
    return JSON.parse(body)?.type ?? "";
  } catch {
    return "";
  }
}

/**
 * @template Content
 * @param {string} path
 * @param {(response: Response) => Promise<Content>} read
 * @param {RequestInit} [options]
 * @returns {Promise<Content>} of an answer with status 2xx; anything else throws a ServiceError
 */
async function get(path, read, options = {}) {
  const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  try {
    const response = await fetch(address(path), { ...options, headers: keyHeader(), signal: timeout });
    if (!response.ok) throw readError(response.status, (name) => response.headers.get(name), await response.text());
    return await read(response);
  } catch (error) {
    if (timeout.aborted) throw new ServiceError("deadline");
    if (error instanceof TypeError) throw unreachable();
    if (error instanceof SyntaxError) throw new ServiceError("failed"); // something else than the service answered
    throw error;
  }
}

function unreachable() {
  return new ServiceError(navigator.onLine ? "unreachable" : "offline");
}

/**
 * Send a picture as a form. XMLHttpRequest, because fetch does not tell how much of a body has been sent.
 * @template Content
 * @param {string} path
 * @param {Blob} picture
 * @param {Record<string, string>} query
 * @param {{signal: AbortSignal, onProgress?: (share: number) => void}} options `onProgress` is called with the sent share,
 *   0 to 1; an aborted `signal` throws its reason
 * @returns {Promise<Content>} the JSON of an answer with status 2xx; anything else throws a ServiceError
 */
function sendPicture(path, picture, query, { signal, onProgress }) {
  const form = new FormData();
  form.append("file", picture);
  const request = new XMLHttpRequest();
  const started = performance.now();
  let sent = false;
  return new Promise((resolve, reject) => {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    /** @param {unknown} error */
    const fail = (error) => {
      clearTimeout(timer);
      reject(error);
      request.abort();
    };
    /**
     * @param {number} milliseconds
     * @param {string} kind of the failure once they are over
     */
    const expireAfter = (milliseconds, kind) => {
      clearTimeout(timer);
      timer = setTimeout(() => fail(new ServiceError(kind)), milliseconds);
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      if (sent) return;
      expireAfter(STALL_TIMEOUT_MS, "slowUpload");
      onProgress?.(loaded / total);
    });
    request.upload.addEventListener("load", () => {
      sent = true;
      expireAfter(ANSWER_TIMEOUT_MS, "deadline");
      onProgress?.(1);
    });
    request.addEventListener("error", () => {
      const slow = !sent && performance.now() - started > SLOW_UPLOAD_MS && navigator.onLine;
      fail(slow ? new ServiceError("slowUpload") : unreachable());
    });
    request.addEventListener("load", () => {
      clearTimeout(timer);
      const { status, responseText } = request;
      if (status < 200 || status > 299) {
        reject(readError(status, (name) => request.getResponseHeader(name), responseText));
        return;
      }
      try {
        resolve(JSON.parse(responseText));
      } catch {
        reject(new ServiceError("failed")); // something else than the service answered
      }
    });
    signal.addEventListener("abort", () => fail(signal.reason));
    request.open("POST", address(`${path}?${new URLSearchParams(query)}`));
    for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.setRequestHeader("X-Request-Timeout-Ms", String(ANSWER_TIMEOUT_MS));
    expireAfter(STALL_TIMEOUT_MS, "slowUpload");
    request.send(form);
  });
}

/**
 * @param {Blob} picture
 * @param {{model?: string, topK: number, signal: AbortSignal, onProgress?: (share: number) => void}} options without
 *   `model` the service's default answers; `onProgress` is called with the share that has been sent, 0 to 1
 * @returns {Promise<Answer>}
 */
export function classify(picture, { model, topK, ...options }) {
  return sendPicture("classify", picture, { top_k: String(topK), ...(model && { model }) }, options);
}

/**
 * @param {Blob} picture
 * @param {{model: string, classId?: number, signal: AbortSignal}} options `classId`: the class to explain; not given: the first
 * @returns {Promise<Answer & {explanation: Explanation}>}
 */
export function explain(picture, { model, classId, ...options }) {
  const query = { format: "json", model, ...(classId !== undefined && { class_id: String(classId) }) };
  return sendPicture("explain", picture, query, options);
}

/**
 * Tell whoever runs the service that an answer was wrong.
 * @param {Blob} picture
 * @param {{model: string, predicted: number, right?: number, other?: string, signal: AbortSignal}} options `predicted` and
 *   `right` are class ids; `other` says what none of the classes is
 * @returns {Promise<{id: string}>}
 */
export function report(picture, { model, predicted, right, other, signal }) {
  /** @type {Record<string, string>} */
  const said = right === undefined ? { other: other ?? "" } : { class_id: String(right) };
  return sendPicture("feedback", picture, { model, predicted_class_id: String(predicted), ...said }, { signal });
}

/** @param {Response} response */
const readJson = (response) => response.json();

/** @returns {Promise<Models>} */
export function listModels() {
  return get("models", readJson);
}

/**
 * @param {string} model
 * @returns {Promise<NamedClass[]>}
 */
export async function listClasses(model) {
  const { classes } = await get(`models/${encodeURIComponent(model)}/classes`, readJson);
  return classes;
}

/**
 * A picture of another server, which the service fetches: this page may load nothing from elsewhere.
 * @param {string} url
 * @returns {Promise<File>}
 */
export async function fetchPicture(url) {
  try {
    const query = new URLSearchParams({ url });
    const picture = await get(`fetch?${query}`, (response) => response.blob(), { method: "POST" });
    const name = decodeURIComponent(new URL(url).pathname.split("/").pop() ?? "");
    return new File([picture], name || new URL(url).hostname);
  } catch (error) {
    // What is there is a page, for example; or the address has a form that is never fetched.
    const isOther = error instanceof ServiceError && ["unsupported", "noPicture"].includes(error.kind);
    throw isOther ? new ServiceError("notFetched") : error;
  }
}

/** @returns {Promise<Record<string, string>>} the Chinese name of each class, by WordNet id */
export function chineseLabels() {
  return get("labels/zh.json", readJson);
}

/** @returns {Promise<Example[]>} */
export function exampleList() {
  return get("examples/list.json", readJson);
}

/**
 * @param {string} file of an Example
 * @returns {Promise<File>}
 */
export async function examplePicture(file) {
  const picture = await get(`examples/${file}`, (response) => response.blob());
  return new File([picture], file, { type: picture.type });
}
