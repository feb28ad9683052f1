// A second model, which answers beside the one that is chosen.

import { byId, element } from "./dom.js";
import { t } from "./i18n.js";
import { Remembered } from "./remembered.js";

/** @import { Model } from "./api.js" */

const remembered = new Remembered("tab", "compared");

export class Comparison {
  #chooser = byId("comparison");
  #select = /** @type {HTMLSelectElement} */ (byId("compared"));
  #off = byId("compare-off");
  #chosen = "";
  /** @type {Model[]} */
  #models = [];
  #describe;
  #onChoice;

  /**
   * @param {(model: Model) => string} describe how a model is called
   * @param {() => void} onChoice called when a person chose another one, or none
   */
  constructor(describe, onChoice) {
    this.#describe = describe;
    this.#onChoice = onChoice;
    this.#select.addEventListener("change", () => this.#choose(this.#select.value));
    this.#off.addEventListener("click", () => {
      this.#select.focus(); // the button goes
      this.#choose("");
    });
  }

  /** @returns {string | undefined} the name of the second model; undefined: none is compared with */
  get model() {
    return this.#select.value || undefined;
  }

  /**
   * @param {Model[]} models
   * @param {string} chosen the name of the first one
   */
  fill(models, chosen) {
    const wished = this.#models.length > 0 ? this.#select.value : remembered.read();
    // Who takes the second model as the first one still wants to see both.
    const second = wished && wished === chosen && this.#chosen ? this.#chosen : wished;
    this.#models = models.filter(({ name }) => name !== chosen);
    this.#chosen = chosen;
    const options = this.#models.map(({ name }) => element("option", { value: name }));
    this.#select.replaceChildren(element("option", { value: "" }), ...options);
    this.#select.value = this.#models.some(({ name }) => name === second) ? (second ?? "") : "";
    remembered.write(this.#select.value);
    this.update();
  }

  /** Write everything in the current language. */
  update() {
    this.#chooser.hidden = this.#models.length === 0;
    this.#off.hidden = !this.model;
    const [none, ...others] = this.#select.options;
    if (none) none.textContent = t(this.model ? "compareNone" : "compareWith");
    others.forEach((option, index) => (option.textContent = this.#describe(this.#models[index])));
  }

  /** @param {string} name of a model; empty: none */
  #choose(name) {
    this.#select.value = name;
    remembered.write(name);
    this.update();
    this.#onChoice();
  }
}
