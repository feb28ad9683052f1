// The pictures of this page, and what is known of each. Whoever shows them listens for "change".

import { ServiceError } from "./api.js";
import { prepareUpload } from "./uploads.js";

/** @import { Answer, Crop, NamedClass } from "./api.js" */

/**
 * How far a question has come: the picture is taken in, to be started by hand; its turn comes; it is being made smaller; is
 * being sent, of which `share` (0 to 1) is done; has arrived at the service; was answered; has failed.
 * @typedef {{phase: "ready" | "waiting" | "preparing" | "recognizing"} | {phase: "uploading", share: number}
 *   | {phase: "done", answer: Answer} | {phase: "failed", error: ServiceError}} State
 *
 * What pictures are counted by; "refused" are those that would fail again.
 * @typedef {"ready" | "waiting" | "working" | "done" | "failed" | "refused"} Outcome
 *
 * That the answer was reported as wrong: the report's id, and what is right.
 * @typedef {{id: string, right?: NamedClass, other: string}} Reported
 *
 * What is kept of a picture over a reload, beside its file.
 * @typedef {{id: string, at: number, crop?: Crop, original: boolean, answer?: Answer, failure?: string, ready: boolean,
 *   reported?: Reported, second?: Answer}} Record
 */

/** @type {readonly Outcome[]} */
export const OUTCOMES = ["done", "failed", "refused", "working", "waiting", "ready"];

/** What one model is asked about a picture. Sends "change" after each change of what is known of it. */
export class Question extends EventTarget {
  #controller = new AbortController();
  /** @type {State} */
  #state = { phase: "ready" };

  get state() {
    return this.#state;
  }

  set state(state) {
    this.#state = state;
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {Outcome} */
  get outcome() {
    switch (this.#state.phase) {
      case "preparing":
      case "uploading":
      case "recognizing":
        return "working";
      case "failed":
        return this.#state.error.retryable ? "failed" : "refused";
      default:
        return this.#state.phase;
    }
  }

  /** For the requests about it that are under way; aborted when it is asked anew, or goes. */
  get signal() {
    return this.#controller.signal;
  }

  /** Forget any earlier answer, and any request that is under way. */
  restart() {
    this.#renew();
    this.state = { phase: "waiting" };
  }

  /** As if it had never been asked. */
  withdraw() {
    this.#renew();
    if (this.#state.phase !== "ready") this.state = { phase: "ready" };
  }

  #renew() {
    this.#controller.abort();
    this.#controller = new AbortController();
  }

  cancel() {
    this.#controller.abort();
  }
}

/** A picture, and the question to the model that is chosen. */
export class Picture extends Question {
  /** The question to the model that this one is compared with; ready while there is none. */
  second = new Question();
  /** The part of the upright picture that is asked about. */
  /** @type {Crop | undefined} */
  crop;
  /** Whether the file is sent as it is, however large. */
  original = false;
  /** @type {Reported | undefined} */
  reported;
  /** What is sent: the file itself, or a smaller copy or a part of it; undefined until it is made. */
  /** @type {Blob | undefined} */
  upload;

  /**
   * @param {File} file
   * @param {{id?: string, at?: number}} [kept] `at`: when it came, on the clock of Date.now(); orders pictures
   */
  constructor(file, { id = newId(), at = Date.now() } = {}) {
    super();
    this.file = file;
    this.id = id;
    this.at = at;
  }

  get name() {
    return this.file.name;
  }

  restart() {
    this.upload = undefined;
    this.reported = undefined;
    this.second.withdraw();
    super.restart();
  }

  cancel() {
    this.second.cancel();
    super.cancel();
  }

  /** @param {Crop | undefined} crop to ask about from now on; may reach beyond the picture */
  cropTo(crop) {
    this.crop = crop;
    this.upload = undefined;
  }

  /**
   * @param {"small" | "all" | "none"} [asIs] which files are sent as they are, as for prepareUpload()
   * @returns {Promise<Blob>} what is sent, made where it is not there yet or `asIs` says otherwise
   */
  async prepare(asIs) {
    if (!this.upload || asIs) {
      this.upload = await prepareUpload(this.file, { crop: this.crop, asIs: asIs ?? (this.original ? "all" : "small") });
    }
    return this.upload;
  }

  /** @returns {Record} */
  record() {
    const { state, second } = this;
    return {
      id: this.id,
      at: this.at,
      crop: this.crop,
      original: this.original,
      answer: state.phase === "done" ? state.answer : undefined,
      failure: state.phase === "failed" ? state.error.kind : undefined,
      ready: state.phase === "ready",
      reported: this.reported,
      second: second.state.phase === "done" ? second.state.answer : undefined,
    };
  }

  /**
   * @param {Record & {file: File}} record
   * @returns {Picture} as it was kept; one whose answer had not come is waiting
   */
  static from({ file, crop, original, answer, failure, ready, reported, second, ...kept }) {
    const picture = new Picture(file, kept);
    picture.crop = crop;
    picture.original = original;
    picture.reported = reported;
    if (answer) picture.state = { phase: "done", answer };
    else if (failure) picture.state = { phase: "failed", error: new ServiceError(failure) };
    else if (!ready) picture.state = { phase: "waiting" };
    if (second) picture.second.state = { phase: "done", answer: second };
    return picture;
  }
}

/** All of them, the newest first. Sends "change" when one comes, goes or changes. */
export class Pictures extends EventTarget {
  /** @type {Picture[]} */
  #all = [];
  #changed = () => this.dispatchEvent(new Event("change"));

  [Symbol.iterator]() {
    return this.#all.values();
  }

  get size() {
    return this.#all.length;
  }

  /** @param {Picture[]} added in their order, before those that are there */
  add(added) {
    for (const picture of added) picture.addEventListener("change", this.#changed);
    this.#all.unshift(...added);
    this.#changed();
  }

  /** @param {Picture} picture */
  remove(picture) {
    picture.cancel();
    picture.removeEventListener("change", this.#changed);
    this.#all = this.#all.filter((other) => other !== picture);
    this.#changed();
  }

  clear() {
    for (const picture of [...this.#all]) this.remove(picture);
  }

  /** @param {...Outcome} outcomes */
  with(...outcomes) {
    return this.#all.filter(({ outcome }) => outcomes.includes(outcome));
  }

  /** @returns {globalThis.Record<Outcome, number>} */
  counts() {
    const counts = { ready: 0, waiting: 0, working: 0, done: 0, failed: 0, refused: 0 };
    for (const { outcome } of this.#all) counts[outcome] += 1;
    return counts;
  }
}

/** crypto.randomUUID is not there on addresses that are neither local nor https. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
