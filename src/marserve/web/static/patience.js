// When the service is busy or away, all wait together: as long as it wants, then longer and longer, and not forever.

/** @import { ServiceError } from "./api.js" */

const FIRST_WAIT_MS = 1000;
/** The first failure and three more tries, after 1, 2 and 4 seconds where the service names no time. */
const MAX_WAITS = 3;
/** A person does not look on for longer; they are told and may try again themselves. */
const MAX_WAIT_MS = 60_000;

/** Sends "change" when a wait begins or ends. */
export class Patience extends EventTarget {
  #waits = 0;
  #resumedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {(() => void)[]} */
  #waiting = [];
  /** What is waited for; undefined while nothing is. */
  /** @type {ServiceError | undefined} */
  reason;
  /** When the wait ends, on the clock of Date.now(). */
  until = 0;
  /** The failure after which nobody waits any longer, until somebody wants to try again. */
  /** @type {ServiceError | undefined} */
  exhausted;

  /** @returns {Promise<void>} at once, or when the wait is over */
  async pass() {
    if (this.reason) await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
  }

  /**
   * @param {ServiceError} error why a request failed
   * @param {number} startedAt when that request began, on the clock of Date.now()
   * @returns {boolean} whether to pass() and try again
   */
  lasts(error, startedAt) {
    if (this.exhausted) return false;
    if (this.reason || startedAt < this.#resumedAt) return true; // one of several that failed together
    const wait = Math.max(error.retryAfterMs, FIRST_WAIT_MS * 2 ** this.#waits);
    if (this.#waits === MAX_WAITS || wait > MAX_WAIT_MS) {
      this.exhausted = error;
      return false;
    }
    this.#waits += 1;
    this.reason = error;
    this.until = Date.now() + wait;
    this.#timer = setTimeout(() => this.resume(), wait);
    this.dispatchEvent(new Event("change"));
    return true;
  }

  /** Wait no longer. */
  resume() {
    clearTimeout(this.#timer);
    this.#resumedAt = Date.now();
    this.reason = undefined;
    for (const proceed of this.#waiting.splice(0)) proceed();
    this.dispatchEvent(new Event("change"));
  }

  /** The service has answered, or somebody wants to try again: be as patient as at first. */
  renew() {
    this.#waits = 0;
    this.exhausted = undefined;
  }
}
