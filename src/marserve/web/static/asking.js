// Asks the service about pictures, a few at a time, and writes into each what became of it.

import { classify, ServiceError } from "./api.js";
import { Patience } from "./patience.js";

/** @import { Answer } from "./api.js" */
/** @import { Models } from "./models.js" */
/** @import { Picture, Question } from "./pictures.js" */

/** Enough to keep the service's batches filled, few enough to leave it to others too. */
const MAX_REQUESTS_IN_FLIGHT = 3;
/** Asked for once, so that showing more needs no second request. */
const TOP_K = 10;

export class Asking {
  #running = 0;
  /** @type {(() => void)[]} */
  #waiting = [];
  #models;
  #onEnd;
  patience = new Patience();

  /**
   * @param {Models} models
   * @param {(picture: Picture, question: Question) => void} onEnd called when a question about a picture is done or has
   *   failed
   */
  constructor(models, onEnd) {
    this.#models = models;
    this.#onEnd = onEnd;
    addEventListener("online", () => {
      if (this.patience.reason?.kind === "offline") this.patience.resume();
    });
  }

  /**
   * Ask about `picture` (again) when its turn comes.
   * @param {Picture} picture
   * @param {Question} [question] the picture's own, which goes to the model that is chosen, or its second one
   */
  async start(picture, question = picture) {
    this.patience.renew();
    question.restart();
    const { signal } = question;
    if (this.#running >= MAX_REQUESTS_IN_FLIGHT) {
      await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    }
    this.#running += 1;
    try {
      if (!signal.aborted) await this.#ask(picture, question, signal);
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  /**
   * @param {Picture} picture
   * @param {Question} question
   * @param {AbortSignal} signal
   */
  async #ask(picture, question, signal) {
    for (;;) {
      await this.patience.pass();
      if (signal.aborted) return;
      const startedAt = Date.now();
      try {
        if (this.patience.exhausted) throw this.patience.exhausted;
        const answer = await this.#answer(picture, question, signal);
        if (signal.aborted) return;
        this.patience.renew();
        question.state = { phase: "done", answer };
        break;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ServiceError)) throw error;
        if (!error.passing || !this.patience.lasts(error, startedAt)) {
          question.state = { phase: "failed", error };
          break;
        }
        question.state = { phase: "waiting" };
      }
    }
    this.#onEnd(picture, question);
  }

  /**
   * @param {Picture} picture
   * @param {Question} question
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async #answer(picture, question, signal) {
    /** @param {"none"} [asIs] */
    const send = async (asIs) => {
      question.state = { phase: "preparing" };
      const upload = await picture.prepare(asIs);
      if (signal.aborted) throw signal.reason;
      question.state = { phase: "uploading", share: 0 };
      return classify(upload, {
        model: question === picture ? this.#models.chosen : this.#models.compared,
        topK: TOP_K,
        signal,
        onProgress(share) {
          if (!signal.aborted) question.state = share < 1 ? { phase: "uploading", share } : { phase: "recognizing" };
        },
      });
    };
    try {
      return await send();
    } catch (error) {
      // A small file may have more pixels than the service takes.
      if (!(error instanceof ServiceError) || error.kind !== "tooLarge" || picture.upload !== picture.file) throw error;
      return send("none");
    }
  }
}
