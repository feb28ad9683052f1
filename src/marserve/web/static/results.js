// The results: how many pictures have come how far, what can be done with all of them, and each as a card or a row.

import { Card } from "./cards.js";
import { copyText } from "./clipboard.js";
import { arrange, byId } from "./dom.js";
import { errorText } from "./errors.js";
import { asCsv, asJson, asText, download } from "./export.js";
import { duration, t } from "./i18n.js";
import { OUTCOMES } from "./pictures.js";
import { Table } from "./table.js";
import { view } from "./view.js";

/** @import { Patience } from "./patience.js" */
/** @import { Actions } from "./cards.js" */
/** @import { Picture, Pictures } from "./pictures.js" */

/** @typedef {{startReady: () => void, retryFailed: () => void, clear: () => void}} ActionsOnAll */

export class Results {
  /** @type {Map<Picture, Card>} */
  #cards = new Map();
  #progress = /** @type {HTMLProgressElement} */ (byId("progress"));
  #table;
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
    this.#table = new Table(pictures, actions, (picture) => this.#card(picture).element);
    byId("start").addEventListener("click", actions.startReady);
    byId("retry-failed").addEventListener("click", actions.retryFailed);
    byId("clear").addEventListener("click", actions.clear);
    byId("try-now").addEventListener("click", () => patience.resume());
    pictures.addEventListener("change", () => this.#show());
    patience.addEventListener("change", () => this.#showPatience());
    view.addEventListener("change", () => this.update());
    watchMenus();
    byId("export-menu").addEventListener("toggle", () => this.#showExtent());
    const copy = byId("export-text");
    copy.addEventListener("click", () =>
      copyText(asText(this.#exported), (copied) => (copy.textContent = t(copied ? "copied" : "exportText"))),
    );
    byId("export-csv").addEventListener("click", () => download(asCsv(this.#exported), "csv"));
    byId("export-json").addEventListener("click", () => download(asJson(this.#exported), "json"));
  }

  /** Write everything in the current language. */
  update() {
    for (const card of this.#cards.values()) card.update();
    this.#table.update();
    this.#show();
    this.#showPatience();
  }

  /**
   * @param {Picture} picture
   * @returns {HTMLElement} what shows it: its card, or its row
   */
  elementOf(picture) {
    return view.layout === "table" ? this.#table.elementOf(picture) : this.#card(picture).element;
  }

  /**
   * @param {Picture} picture
   * @returns {HTMLElement | undefined} what gets the focus once it is removed
   */
  neighborOf(picture) {
    if (view.layout === "table") return this.#table.neighborOf(picture);
    const { element } = this.#card(picture);
    const next = element.nextElementSibling ?? element.previousElementSibling;
    return next instanceof HTMLElement ? next : undefined;
  }

  /** What is exported: in the table, what its filters leave. */
  get #exported() {
    return view.layout === "table" ? this.#table.shown : [...this.#pictures];
  }

  #showExtent() {
    const values = { count: this.#exported.length, all: this.#pictures.size };
    byId("export-extent").textContent = t(values.count < values.all ? "exportFiltered" : "exportAll", values);
  }

  #show() {
    view.count = this.#pictures.size;
    const isTable = view.layout === "table";
    byId("cards").hidden = isTable;
    byId("table").hidden = !isTable;
    this.#forgetRemoved();
    if (isTable) this.#table.show();
    else arrange(byId("cards"), [...this.#pictures].map((picture) => this.#card(picture).element));
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

  /** @param {Picture} picture */
  #card(picture) {
    let card = this.#cards.get(picture);
    if (!card) {
      card = new Card(picture, this.#actions);
      this.#cards.set(picture, card);
    }
    return card;
  }

  #forgetRemoved() {
    const all = new Set(this.#pictures);
    for (const [picture, card] of this.#cards) {
      if (all.has(picture)) continue;
      card.dispose();
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

/** Menus close as others do: by a press elsewhere, and by Escape, which gives the focus back. */
function watchMenus() {
  const menus = /** @type {NodeListOf<HTMLDetailsElement>} */ (document.querySelectorAll("details.menu"));
  addEventListener("pointerdown", ({ target }) => {
    for (const menu of menus) if (target instanceof Node && !menu.contains(target)) menu.open = false;
  });
  for (const menu of menus) {
    menu.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary")?.focus();
    });
  }
}
