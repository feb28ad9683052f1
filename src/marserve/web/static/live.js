// The camera's picture, asked about again and again: what it shows is said while it is held up.

import { classify, ServiceError } from "./api.js";
import { byId, element } from "./dom.js";
import { errorText } from "./errors.js";
import { integer, percent, t } from "./i18n.js";
import { askForKey } from "./key.js";
import { className, loadLabels } from "./labels.js";
import { predictionList, verdict } from "./predictions.js";
import { toJpeg } from "./uploads.js";
import { view } from "./view.js";

/** @import { Answer } from "./api.js" */

/** The shorter side of a frame: networks look at 224 to 320 pixels of it, and 20 kB travel fast. */
const FRAME_SIDE = 320;
/** Faster than this nobody reads, and others have the service too. */
const MIN_INTERVAL_MS = 100;
/** Before the next frame after a failure that may pass, unless the service wants longer. */
const PAUSE_MS = 2000;
/** How often a page that nobody sees finds out whether somebody does. */
const HIDDEN_CHECK_MS = 500;
/** With nobody touching anything for so long, the camera may have been forgotten. */
const IDLE_LIMIT_MS = 3 * 60_000;
/** A screen reader needs this long for a label. */
const SPOKEN_EVERY_MS = 3000;
const ACTIVITY = ["pointerdown", "pointermove", "keydown"];

export class Live {
  #panel = byId("live-answer");
  #spoken = byId("live-spoken");
  /** @type {AbortController | undefined} */
  #controller;
  #interval = MIN_INTERVAL_MS;
  #lastActivity = 0;
  #lastSpoken = 0;
  #video;
  #model;
  #say;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => string | undefined} model the name of the model to ask
   * @param {(text: string, isOver?: boolean) => void} say what a person should know; `isOver` when it has stopped by itself
   */
  constructor(video, model, say) {
    this.#video = video;
    this.#model = model;
    this.#say = say;
    for (const name of ACTIVITY) addEventListener(name, () => (this.#lastActivity = performance.now()), { passive: true });
  }

  start() {
    this.stop();
    this.#controller = new AbortController();
    this.#lastActivity = performance.now();
    void this.#run(this.#controller.signal);
  }

  stop() {
    this.#controller?.abort();
    this.#panel.hidden = true;
    this.#panel.replaceChildren();
    this.#spoken.textContent = "";
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    await loadLabels();
    while (!signal.aborted) {
      if (performance.now() - this.#lastActivity > IDLE_LIMIT_MS) return this.#say(t("liveIdle"), true);
      if (document.hidden) await delay(HIDDEN_CHECK_MS, signal);
      else await this.#ask(signal);
    }
  }

  /**
   * Ask about one frame, and wait as long as the next one should.
   * @param {AbortSignal} signal
   */
  async #ask(signal) {
    const began = performance.now();
    let pause = 0;
    try {
      const frame = await grab(this.#video);
      const answer = await classify(frame, { model: this.#model(), topK: 3, signal });
      if (signal.aborted) return;
      this.#show(answer, performance.now() - began);
      this.#say(t("liveHint"));
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      this.#say(errorText(error), !error.passing);
      if (error.kind === "keyNeeded") askForKey();
      // A service that counts requests is asked no oftener than it said from here on.
      if (error.kind === "tooMany") this.#interval = Math.max(this.#interval, error.retryAfterMs);
      pause = Math.max(PAUSE_MS, error.retryAfterMs);
    }
    await delay(Math.max(pause, this.#interval - (performance.now() - began)), signal);
  }

  /**
   * @param {Answer} answer
   * @param {number} milliseconds from frame to answer
   */
  #show(answer, milliseconds) {
    const [first] = answer.predictions;
    const rate = Math.max(1, Math.round(1000 / Math.max(milliseconds, this.#interval)));
    const needsWords = answer.weights === "untrained" || view.select(answer).length === 0;
    const about = [needsWords ? verdict(answer) : "", t("liveRate", { count: integer(rate) })];
    this.#panel.replaceChildren(
      predictionList(answer, false),
      element("p", { className: "meta" }, about.filter(Boolean).join(" · ")),
    );
    this.#panel.hidden = false;
    const untrained = answer.weights === "untrained" ? `, ${t("untrained")}` : "";
    const text = `${className(first)}, ${percent(first.probability)}${untrained}`;
    const isOther = !this.#spoken.textContent?.startsWith(className(first));
    if (isOther && performance.now() - this.#lastSpoken > SPOKEN_EVERY_MS) {
      this.#lastSpoken = performance.now();
      this.#spoken.textContent = text;
    }
  }
}

/** @param {HTMLVideoElement} video */
async function grab(video) {
  const scale = Math.min(1, FRAME_SIDE / Math.min(video.videoWidth, video.videoHeight));
  const canvas = element("canvas", {
    width: Math.round(video.videoWidth * scale),
    height: Math.round(video.videoHeight * scale),
  });
  canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
  const frame = await toJpeg(canvas);
  if (!frame) throw new ServiceError("failed");
  return frame;
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal ends the wait
 * @returns {Promise<void>}
 */
function delay(milliseconds, signal) {
  const end = AbortSignal.any([signal, AbortSignal.timeout(Math.max(0, milliseconds))]);
  return new Promise((resolve) => {
    if (end.aborted) resolve();
    else end.addEventListener("abort", () => resolve());
  });
}
