// Many pictures as a table, a row for each: sorted, filtered, and opened to its card.

import { element, arrange, byId, icon } from "./dom.js";
import { errorText } from "./errors.js";
import { duration, language, percent, t } from "./i18n.js";
import { className } from "./labels.js";
import { modelName } from "./models.js";
import { OUTCOMES } from "./pictures.js";
import { classNameOf } from "./predictions.js";
import { Thumbnails } from "./thumbnails.js";
import { view } from "./view.js";

/** @import { Actions } from "./cards.js" */
/** @import { Outcome, Picture, Pictures } from "./pictures.js" */

/** @typedef {"name" | "state" | "label" | "confidence" | "model" | "time"} Column */

/** Of which what is best, or longest, comes first. */
const DESCENDING_FIRST = new Set(["confidence", "time"]);
const thumbnails = new Thumbnails();
let count = 0;

/** @param {Picture} picture */
function answerOf({ state }) {
  return state.phase === "done" ? state.answer : undefined;
}

/** @param {Picture} picture */
function stateText({ state, outcome }) {
  if (outcome === "done" || outcome === "failed" || outcome === "refused") return t(`state.${outcome}`);
  return state.phase === "uploading" ? t("uploadingShare", { share: percent(state.share, 0) }) : t(state.phase);
}

/**
 * What a column is sorted by; undefined comes last.
 * @param {Picture} picture
 * @param {Column} column
 */
function sortValue(picture, column) {
  const answer = answerOf(picture);
  switch (column) {
    case "name":
      return picture.name;
    case "state":
      return OUTCOMES.indexOf(picture.outcome);
    case "label":
      return answer && classNameIfAny(answer);
    case "confidence":
      return answer && view.select(answer)[0]?.probability;
    case "model":
      return answer?.model;
    case "time":
      return answer?.time_ms;
  }
}

/** @param {import("./api.js").Answer} answer */
function classNameIfAny(answer) {
  const [first] = view.select(answer);
  return first && className(first);
}

class Row {
  #cells = {
    state: element("td", { className: "state", role: "cell" }),
    label: element("td", { className: "label", role: "cell" }),
    confidence: element("td", { className: "number", role: "cell" }),
    further: element("td", { className: "further", role: "cell" }),
    model: element("td", { className: "model", role: "cell" }),
    time: element("td", { className: "number time", role: "cell" }),
  };
  #thumbnail = element("canvas", { className: "thumbnail", width: 0, height: 0, "aria-hidden": "true" });
  #retry = element("button", { type: "button", className: "icon-button" }, icon("retry"));
  #remove = element("button", { type: "button", className: "icon-button" }, icon("close"));
  #phase = "";
  #onChange = () => this.#change();

  /**
   * @param {Picture} picture
   * @param {Actions} actions
   * @param {() => void} onToggle
   */
  constructor(picture, actions, onToggle) {
    this.picture = picture;
    this.opener = element("button", { type: "button", className: "opener", "aria-expanded": "false" }, picture.name);
    this.element = element(
      "tr",
      { role: "row", className: "row", title: picture.name, tabIndex: -1 },
      element("td", { className: "thumbnail-cell", role: "cell" }, this.#thumbnail),
      element("th", { scope: "row", role: "rowheader" }, this.opener),
      ...Object.values(this.#cells),
      element("td", { className: "row-actions", role: "cell" }, this.#retry, this.#remove),
    );
    this.element.addEventListener("click", ({ target }) => {
      const button = target instanceof Element && target.closest("button");
      const isSelecting = !getSelection()?.isCollapsed;
      if (button === this.opener || (!button && !isSelecting)) onToggle();
    });
    this.#retry.addEventListener("click", () => {
      this.opener.focus(); // the button goes
      actions.start(picture);
    });
    this.#remove.addEventListener("click", () => actions.remove(picture));
    thumbnails.watch(this.#thumbnail, picture.file);
    picture.addEventListener("change", this.#onChange);
    this.update();
  }

  dispose() {
    thumbnails.forget(this.#thumbnail);
    this.picture.removeEventListener("change", this.#onChange);
  }

  /** Write everything in the current language. */
  update() {
    const { name, file, state, outcome } = this.picture;
    const answer = answerOf(this.picture);
    const { label, confidence, further, model, time } = this.#cells;
    this.#phase = state.phase;
    this.element.dataset.outcome = outcome;
    this.#showState();
    const shown = answer ? view.select(answer) : [];
    // What is no label has the room of the labels.
    label.colSpan = shown.length > 0 ? 1 : 3;
    confidence.hidden = further.hidden = shown.length === 0;
    const [first, ...others] = shown;
    if (answer && first) {
      label.replaceChildren(classNameOf(first));
      if (answer.weights === "untrained") label.append(" ", element("span", { className: "tag" }, t("untrained")));
      confidence.textContent = percent(first.probability);
      further.textContent = others.map((one) => `${className(one)} ${percent(one.probability)}`).join(" · ");
    } else if (answer) {
      label.textContent = t("nothingAbove", { percent: percent(view.threshold, 0) });
    } else {
      label.textContent = state.phase === "failed" ? errorText(state.error, file) : "";
    }
    model.textContent = answer ? modelName(answer.model, answer.weights) : "";
    time.textContent = answer ? (answer.cache === "hit" ? t("cached") : duration(answer.time_ms)) : "";
    this.#retry.hidden = outcome !== "failed";
    this.#retry.setAttribute("aria-label", t("retryOne", { name }));
    this.#remove.setAttribute("aria-label", t("remove", { name }));
  }

  /** @param {string} text in lower case */
  matches(text) {
    const { name } = this.picture;
    const answer = answerOf(this.picture);
    const labels = answer ? view.select(answer).flatMap((one) => [one.label, className(one)]) : [];
    return [name, ...labels].some((word) => word.toLowerCase().includes(text));
  }

  /** Progress alone writes one cell; all else writes the row anew. */
  #change() {
    const { phase } = this.picture.state;
    if (phase === "uploading" && this.#phase === "uploading") this.#showState();
    else this.update();
  }

  #showState() {
    this.#cells.state.textContent = stateText(this.picture);
  }
}

export class Table {
  /** @type {Map<Picture, Row>} */
  #rows = new Map();
  #body = byId("rows");
  #search = /** @type {HTMLInputElement} */ (byId("filter-text"));
  #headers = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("#table thead [data-sort]")]);
  /** @type {{column: Column, descending: boolean} | undefined} */
  #sorting;
  /** @type {Outcome | undefined} */
  #outcome;
  /** @type {Row | undefined} */
  #open;
  #detail = element("tr", { role: "row", className: "detail" });
  #chips = "";
  #scheduled = false;
  #pictures;
  #actions;
  #cardOf;

  /**
   * @param {Pictures} pictures
   * @param {Actions} actions
   * @param {(picture: Picture) => HTMLElement} cardOf makes the card that an open row shows
   */
  constructor(pictures, actions, cardOf) {
    this.#pictures = pictures;
    this.#actions = actions;
    this.#cardOf = cardOf;
    this.#search.addEventListener("input", () => this.show());
    for (const header of this.#headers) {
      header.querySelector("button")?.addEventListener("click", () => {
        this.#sortBy(/** @type {Column} */ (header.dataset.sort));
      });
    }
  }

  /** The pictures that the filters leave, in the order in which they are shown. */
  get shown() {
    this.#forgetRemoved();
    const text = this.#search.value.trim().toLowerCase();
    const rows = [...this.#pictures].map((picture) => this.#row(picture));
    const matching = rows.filter(
      (row) => (!this.#outcome || row.picture.outcome === this.#outcome) && (!text || row.matches(text)),
    );
    return this.#sorted(matching).map(({ picture }) => picture);
  }

  /** Write what is there already in the current language. */
  update() {
    for (const row of this.#rows.values()) row.update();
    this.#search.placeholder = t("filterText");
    this.#chips = "";
  }

  /** Soon, and once however often it is called until then: what changes comes in hundreds. */
  show() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#show());
  }

  /**
   * @param {Picture} picture
   * @returns {HTMLElement} what shows it
   */
  elementOf(picture) {
    if (this.#scheduled) this.#show();
    return this.#row(picture).element;
  }

  /**
   * @param {Picture} picture
   * @returns {HTMLElement | undefined} what gets the focus once it is removed
   */
  neighborOf(picture) {
    const shown = this.shown;
    const index = shown.indexOf(picture);
    const next = shown[index + 1] ?? shown[index - 1];
    return next && this.#row(next).opener;
  }

  #show() {
    this.#scheduled = false;
    if (this.#outcome && this.#pictures.counts()[this.#outcome] === 0) this.#outcome = undefined;
    this.#showChips();
    const rows = this.shown.map((picture) => this.#row(picture));
    /** @type {Element[]} */
    const elements = [];
    for (const row of rows) {
      elements.push(row.element);
      if (row === this.#open) elements.push(this.#detail);
    }
    const focused = document.activeElement;
    arrange(this.#body, elements);
    if (focused instanceof HTMLElement && this.#body.contains(focused)) focused.focus({ preventScroll: true });
    byId("no-match").hidden = rows.length > 0;
  }

  #forgetRemoved() {
    const all = new Set(this.#pictures);
    for (const [picture, row] of this.#rows) {
      if (all.has(picture)) continue;
      row.dispose();
      this.#rows.delete(picture);
      if (this.#open === row) this.#open = undefined;
    }
  }

  /** @param {Picture} picture */
  #row(picture) {
    let row = this.#rows.get(picture);
    if (!row) {
      row = new Row(picture, this.#actions, () => this.#toggle(picture));
      this.#rows.set(picture, row);
    }
    return row;
  }

  /** @param {Picture} picture */
  #toggle(picture) {
    const row = this.#row(picture);
    const opens = this.#open !== row;
    this.#open?.opener.setAttribute("aria-expanded", "false");
    this.#open = opens ? row : undefined;
    if (opens) {
      const card = this.#cardOf(picture);
      this.#detail.replaceChildren(element("td", { role: "cell", colSpan: 9 }, card));
      this.#detail.id = `detail-${++count}`;
      row.opener.setAttribute("aria-expanded", "true");
      row.opener.setAttribute("aria-controls", this.#detail.id);
    }
    this.#show();
    if (opens) this.#detail.scrollIntoView({ block: "nearest" });
  }

  /** @param {Column} column */
  #sortBy(column) {
    const first = DESCENDING_FIRST.has(column);
    if (this.#sorting?.column !== column) this.#sorting = { column, descending: first };
    else if (this.#sorting.descending === first) this.#sorting = { column, descending: !first };
    else this.#sorting = undefined; // as they came
    for (const header of this.#headers) {
      if (header.dataset.sort !== this.#sorting?.column) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", this.#sorting?.descending ? "descending" : "ascending");
    }
    this.show();
  }

  /** @param {Row[]} rows */
  #sorted(rows) {
    const sorting = this.#sorting;
    if (!sorting) return rows;
    const collator = new Intl.Collator(language(), { numeric: true });
    const values = new Map(rows.map((row) => [row, sortValue(row.picture, sorting.column)]));
    return rows.sort((one, other) => {
      const [a, b] = [values.get(one), values.get(other)];
      if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
      const order = typeof a === "number" && typeof b === "number" ? a - b : collator.compare(String(a), String(b));
      return sorting.descending ? -order : order;
    });
  }

  /** A chip for each state that there is, and one for all. */
  #showChips() {
    const counts = this.#pictures.counts();
    const texts = OUTCOMES.filter((outcome) => counts[outcome] > 0).map((outcome) => ({
      outcome,
      text: t(`count.${outcome}`, { count: counts[outcome] }),
    }));
    const chips = [{ outcome: undefined, text: t("countAll", { count: this.#pictures.size }) }, ...texts];
    const wanted = JSON.stringify([chips, this.#outcome]);
    if (wanted === this.#chips) return;
    this.#chips = wanted;
    const group = byId("filter-states");
    const focused = group.contains(document.activeElement) && document.activeElement?.getAttribute("data-outcome");
    group.replaceChildren(
      ...chips.map(({ outcome, text }) => {
        const chip = element("button", { type: "button", className: "chip", dataset: { outcome: outcome ?? "" } }, text);
        chip.setAttribute("aria-pressed", String(this.#outcome === outcome));
        chip.addEventListener("click", () => {
          this.#outcome = outcome;
          this.show();
        });
        return chip;
      }),
    );
    if (typeof focused !== "string") return;
    const again = group.querySelector(`[data-outcome="${focused}"]`) ?? group.firstElementChild;
    if (again instanceof HTMLElement) again.focus();
  }
}
