// One picture and what became of it: waiting, being looked at, answered or failed.

import { element, icon } from "./dom.js";
import { errorText } from "./errors.js";
import { byteSize, duration, t } from "./i18n.js";
import { hasMore, predictionList, verdict } from "./predictions.js";
import { Why } from "./why.js";

/** @import { Answer, ServiceError } from "./api.js" */

/**
 * @typedef {{phase: "waiting" | "working"} | {phase: "done", answer: Answer}
 *   | {phase: "failed", error: ServiceError}} State
 */

let count = 0;

export class Card {
  #image = element("img", { decoding: "async" });
  #frame = element("div", { className: "picture" }, this.#image);
  #stage = element("div", { className: "stage" }, this.#frame);
  #remove = element("button", { type: "button", className: "icon-button" }, icon("close"));
  #content = element("div", { className: "content" });
  /** @type {State} */
  #state = { phase: "waiting" };
  /** @type {Why | undefined} */
  #why;
  #showsAll = false;
  #controller = new AbortController();

  /** What is sent: the file itself, or a smaller copy of it. */
  /** @type {Blob} */
  upload;
  /** The byte limit for which the picture was made smaller, if it was. */
  /** @type {number | undefined} */
  shrunkFor;

  /**
   * @param {File} file
   * @param {{retry: (card: Card) => void, remove: (card: Card) => void}} actions
   */
  constructor(file, actions) {
    this.file = file;
    this.upload = file;
    this.actions = actions;
    const id = `picture-${++count}`;
    this.element = element(
      "article",
      { className: "card", tabIndex: -1, "aria-labelledby": id },
      this.#stage,
      element(
        "div",
        { className: "body" },
        element("header", {}, element("h3", { id, title: file.name }, file.name), this.#remove),
        this.#content,
      ),
    );
    this.#remove.addEventListener("click", () => actions.remove(this));
    this.#content.addEventListener("animationend", () => this.element.classList.remove("fresh")); // bars grow once
    this.#preview();
    this.update();
  }

  get state() {
    return this.#state;
  }

  /**
   * Forget any earlier answer and any request that is under way.
   * @returns {AbortSignal} for the requests of the new start
   */
  restart() {
    this.#controller.abort();
    this.#controller = new AbortController();
    this.show({ phase: "waiting" });
    return this.#controller.signal;
  }

  /** Cancel what is under way, for a card that goes. */
  dispose() {
    this.#controller.abort();
    this.element.remove();
  }

  /** @param {State} state */
  show(state) {
    this.#state = state;
    this.#why?.remove();
    this.#why =
      state.phase === "done" ? new Why(this.#frame, state.answer, this.upload, this.#controller.signal) : undefined;
    this.update();
    this.element.classList.toggle("fresh", state.phase === "done");
  }

  /** Write the state in the current language. */
  update() {
    this.element.dataset.phase = this.#state.phase;
    this.element.setAttribute("aria-busy", String(this.#state.phase === "waiting" || this.#state.phase === "working"));
    this.#image.alt = t("pictureAlt", { name: this.file.name });
    this.#remove.setAttribute("aria-label", t("remove", { name: this.file.name }));
    this.#stage.dataset.noPreview = t("noPreview");
    this.#content.replaceChildren(...this.#contentOf(this.#state));
  }

  #preview() {
    const address = URL.createObjectURL(this.file);
    this.#image.src = address;
    this.#image.decode().then(
      () => {
        URL.revokeObjectURL(address);
        const { naturalWidth, naturalHeight } = this.#image;
        this.#stage.style.setProperty("--ratio", String(naturalWidth / naturalHeight));
      },
      () => {
        URL.revokeObjectURL(address);
        this.element.classList.add("no-preview");
      },
    );
  }

  /** @param {State} state */
  #contentOf(state) {
    if (state.phase === "done") return this.#answer(state.answer);
    if (state.phase === "failed") return this.#failure(state.error);
    return [
      element("p", { className: "progress" }, t(state.phase)),
      element("div", { className: "skeleton", "aria-hidden": "true" }, ...[1, 2, 3].map(() => element("span"))),
    ];
  }

  /** @param {Answer} answer */
  #answer(answer) {
    let list = predictionList(answer, this.#showsAll);
    const more = element("button", { type: "button", className: "quiet", hidden: !hasMore(answer) });
    const labelMore = () => {
      more.replaceChildren(icon(this.#showsAll ? "less" : "more"), t(this.#showsAll ? "fewer" : "more"));
      more.setAttribute("aria-expanded", String(this.#showsAll));
    };
    labelMore();
    more.addEventListener("click", () => {
      this.#showsAll = !this.#showsAll;
      const next = predictionList(answer, this.#showsAll);
      list.replaceWith(next);
      list = next;
      labelMore();
    });
    const nodes = [element("p", { className: "verdict" }, verdict(answer)), list];
    const actions = element("div", { className: "actions" }, more);
    nodes.push(actions);
    if (this.#why) {
      this.#why.update();
      actions.append(this.#why.button);
      nodes.push(this.#why.panel);
    }
    nodes.push(element("p", { className: "meta" }, this.#meta(answer)));
    if (this.shrunkFor) nodes.push(element("p", { className: "meta" }, this.#shrunk(this.shrunkFor)));
    return nodes;
  }

  /** @param {Answer} answer */
  #meta({ model, cache, time_ms, weights }) {
    const time = cache === "hit" ? t("cached") : t("time", { time: duration(time_ms) });
    return `${weights === "demonstration" ? t("modelDemonstration", { name: model }) : model} · ${time}`;
  }

  /** @param {number} limit */
  #shrunk(limit) {
    return t("shrunk", { from: byteSize(this.file.size), to: byteSize(this.upload.size), limit: byteSize(limit) });
  }

  /** @param {ServiceError} error */
  #failure(error) {
    const nodes = [element("p", { className: "failure" }, icon("alert"), errorText(error, this.file))];
    if (error.requestId) nodes.push(element("p", { className: "meta" }, t("reference", { id: error.requestId })));
    if (error.retryable) {
      const retry = element("button", { type: "button" }, icon("retry"), t("retry"));
      retry.addEventListener("click", () => this.actions.retry(this));
      nodes.push(element("div", { className: "actions" }, retry));
    }
    return nodes;
  }
}
