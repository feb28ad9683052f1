// What a person chose to see of the answers: how many labels, from which confidence on, as cards or in a table.

import { byId } from "./dom.js";
import { percent } from "./i18n.js";
import { Remembered } from "./remembered.js";

/** @import { Answer } from "./api.js" */

/** @typedef {"cards" | "table"} Layout */

const DEFAULT_TOP_K = "3";
/** From so many pictures on a table shows more than cards do, unless a person wants cards. */
const TABLE_FROM = 12;

const remembered = {
  topK: new Remembered("browser", "top-k"),
  threshold: new Remembered("browser", "threshold"),
  layout: new Remembered("browser", "layout"),
};

/** Sends "change" when a person chose something else. */
class View extends EventTarget {
  #topK = /** @type {HTMLSelectElement} */ (byId("top-k"));
  #threshold = /** @type {HTMLInputElement} */ (byId("threshold"));
  #radios = /** @type {HTMLInputElement[]} */ ([...byId("layout").querySelectorAll("input")]);
  /** @type {Layout} */
  #layout = "cards";
  #count = 0;

  constructor() {
    super();
    this.#topK.value = remembered.topK.read() ?? DEFAULT_TOP_K;
    if (!this.#topK.value) this.#topK.value = DEFAULT_TOP_K; // something else had been written
    this.#threshold.value = remembered.threshold.read() ?? "0";
    this.update();
    this.#topK.addEventListener("change", () => {
      remembered.topK.write(this.#topK.value);
      this.#changed();
    });
    this.#threshold.addEventListener("input", () => this.update());
    this.#threshold.addEventListener("change", () => {
      remembered.threshold.write(this.#threshold.value);
      this.#changed();
    });
    for (const radio of this.#radios) {
      radio.addEventListener("change", () => {
        remembered.layout.write(radio.value);
        this.#layout = /** @type {Layout} */ (radio.value);
        this.#changed();
      });
    }
  }

  /** The most labels that are shown of an answer. */
  get topK() {
    return Number(this.#topK.value);
  }

  /** The least probability that is shown, 0 to 1. */
  get threshold() {
    return this.#threshold.valueAsNumber / 100;
  }

  get layout() {
    return this.#layout;
  }

  /** @param {number} count of pictures */
  set count(count) {
    if (count === this.#count) return;
    this.#count = count;
    const chosen = remembered.layout.read();
    if (chosen === "cards" || chosen === "table") this.#layout = chosen;
    // Once a table, it stays one until all is cleared: nothing turns over because one picture was removed.
    else if (count === 0 || count >= TABLE_FROM) this.#layout = count === 0 ? "cards" : "table";
    this.#showLayout();
  }

  /** Write everything in the current language. */
  update() {
    byId("threshold-text").textContent = percent(this.threshold, 0);
  }

  /** @param {Answer} answer */
  select({ predictions }) {
    return predictions.filter(({ probability }) => probability >= this.threshold).slice(0, this.topK);
  }

  #showLayout() {
    byId("layout").hidden = this.#count < 2;
    for (const radio of this.#radios) radio.checked = radio.value === this.#layout;
  }

  #changed() {
    this.#showLayout();
    this.dispatchEvent(new Event("change"));
  }
}

export const view = new View();
