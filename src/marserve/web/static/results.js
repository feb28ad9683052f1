// The results: how many pictures have come how far, what can be done with all of them, and a card for each.

import { Card } from "./cards.js";
import { byId } from "./dom.js";
import { errorText } from "./errors.js";
import { duration, t } from "./i18n.js";
import { OUTCOMES } from "./pictures.js";

/** @import { Patience } from "./patience.js" */
/** @import { Actions } from "./cards.js" */
/** @import { Picture, Pictures } from "./pictures.js" */

/** @typedef {{startReady: () => void, retryFailed: () => void, clear: () => void}} ActionsOnAll */

export class Results {
  /** @type {Map<Picture, Card>} */
  #cards = new Map();
  #progress = /** @type {HTMLProgressElement} */ (byId("progress"));
  #pictures;
  #patience;
  #actions;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #countdown;

  /**
   * @param {Pictures} pictures
   * @param {Patience} patience
   * @param {Actions & ActionsOnAll} actions
   */
  constructor(pictures, patience, actions) {
    this.#pictures = pictures;
    this.#patience = patience;
    this.#actions = actions;
    byId("start").addEventListener("click", actions.startReady);
    byId("retry-failed").addEventListener("click", actions.retryFailed);
    byId("clear").addEventListener("click", actions.clear);
    byId("try-now").addEventListener("click", () => patience.resume());
    pictures.addEventListener("change", () => this.#show());
    patience.addEventListener("change", () => this.#showPatience());
  }

  /** Write everything in the current language. */
  update() {
    for (const card of this.#cards.values()) card.update();
    this.#show();
    this.#showPatience();
  }

  /** @param {Picture} picture */
  cardOf(picture) {
    return this.#cards.get(picture);
  }

  #show() {
    this.#showCards();
    const total = this.#pictures.size;
    const counts = this.#pictures.counts();
    const open = counts.waiting + counts.working;
    const parts = OUTCOMES.filter((outcome) => counts[outcome] > 0).map((outcome) =>
      t(`count.${outcome}`, { count: counts[outcome] }),
    );
    // What is known of the model by then folds to a line, once; whoever unfolds it keeps it.
    if (total > 0 && !document.body.classList.contains("has-results")) byId("banner").removeAttribute("open");
    document.body.classList.toggle("has-results", total > 0);
    byId("results").hidden = total === 0;
    byId("overview").textContent = parts.join(" · ");
    this.#progress.hidden = open === 0;
    this.#progress.max = total - counts.ready;
    this.#progress.value = total - counts.ready - open;
    const start = byId("start");
    start.hidden = counts.ready === 0;
    start.textContent = t("start", { count: counts.ready });
    const retry = byId("retry-failed");
    retry.hidden = counts.failed === 0;
    retry.textContent = t("retryFailed", { count: counts.failed });
  }

  /** As many cards as pictures, in their order. */
  #showCards() {
    const gone = new Set(this.#cards.keys());
    /** @type {Element | null} */
    let place = byId("cards").firstElementChild;
    for (const picture of this.#pictures) {
      gone.delete(picture);
      const known = this.#cards.get(picture);
      if (known && known.element === place) {
        place = place.nextElementSibling;
        continue;
      }
      const card = known ?? new Card(picture, this.#actions);
      this.#cards.set(picture, card);
      byId("cards").insertBefore(card.element, place);
    }
    for (const picture of gone) {
      this.#cards.get(picture)?.dispose();
      this.#cards.delete(picture);
    }
  }

  /** Why nothing goes on just now, and for how long. */
  #showPatience() {
    clearInterval(this.#countdown);
    const { reason } = this.#patience;
    byId("patience").hidden = !reason;
    if (!reason) return;
    const count = () => {
      const time = duration(1000 * Math.max(1, Math.ceil((this.#patience.until - Date.now()) / 1000)));
      byId("patience-text").textContent = t("patience", { reason: errorText(reason), time });
    };
    count();
    this.#countdown = setInterval(count, 1000);
  }
}
