// Which model answers: the chooser where there are several, and plain words where its answers need some.

import { listModels, ServiceError } from "./api.js";
import { Comparison } from "./comparison.js";
import { byId, element } from "./dom.js";
import { integer, list, t } from "./i18n.js";
import { Remembered } from "./remembered.js";
import { limits } from "./uploads.js";

/** @import { Answer, Model, Preprocessing, Weights } from "./api.js" */
/** @import { Key } from "./texts.js" */

/** The service's own, for as long as it has not said otherwise. */
const DEFAULT_CLASS_COUNT = 1000;

/** The banner's title for each kind of weights that needs one. */
const BANNER_TITLES = /** @type {Partial<Record<Weights, Key>>} */ ({
  untrained: "bannerUntrainedTitle",
  demonstration: "bannerDemonstrationTitle",
});

/** What each model sees of a picture, as far as it says, by its name. */
/** @type {Map<string, Preprocessing>} */
const preprocessings = new Map();

/** @param {string} [name] of a model; not given: the one that is chosen */
export function preprocessingOf(name = /** @type {HTMLSelectElement} */ (byId("model")).value) {
  return preprocessings.get(name);
}

const remembered = new Remembered("tab", "model");

/**
 * How many classes each model knows, by its name.
 * @type {Map<string, number>}
 */
export const classCounts = new Map();

export class Models {
  #chooser = byId("model-chooser");
  #select = /** @type {HTMLSelectElement} */ (byId("model"));
  /** @type {Model[]} */
  #models = [];
  /** What is known of the model that answers. */
  /** @type {{name: string, weights: Weights} | undefined} */
  #answering;

  #takesReports = false;
  /** Whether the service fetches pictures from addresses. */
  fetchesUrls = false;

  #comparison;

  /** @type {string | null | undefined} what answers unless a model is named; unknown as long as `chosen` is */
  preset;

  /**
   * @param {() => void} onChoice called when a person chose another model
   * @param {() => void} onUpdate called whenever what is told of the models may have changed, the language included
   * @param {() => void} onComparison called when a person chose another model to compare with, or none
   */
  constructor(onChoice, onUpdate, onComparison) {
    this.#comparison = new Comparison(describe, onComparison);
    this.onUpdate = onUpdate;
    this.#select.addEventListener("change", () => {
      remembered.write(this.#select.value);
      this.#answering = this.#current();
      this.#comparison.fill(this.#models, this.#select.value);
      this.update();
      onChoice();
    });
  }

  /** The name to ask for, which was chosen before as long as the service has not told its models; undefined: its default. */
  get chosen() {
    return this.#models.length > 0 ? this.#current()?.name : remembered.read();
  }

  /** The name of the model to compare with, if any. */
  get compared() {
    return this.#comparison.model;
  }

  /** Ask the service what it serves, unless it has told already and all of it is ready. */
  async load() {
    if (this.#models.length > 0 && this.#models.every(({ ready }) => ready)) return;
    try {
      const listed = await listModels();
      const before = this.chosen;
      this.#models = listed.models;
      this.preset = listed.default;
      for (const { name, preprocessing } of listed.models) if (preprocessing) preprocessings.set(name, preprocessing);
      this.fetchesUrls = Boolean(listed.fetches_urls);
      this.#takesReports = Boolean(listed.feedback);
      document.body.classList.toggle("takes-reports", this.#takesReports);
      for (const { name, class_count } of listed.models) if (class_count) classCounts.set(name, class_count);
      if (listed.limits) limits.maxBytes = listed.limits.max_image_bytes;
      this.#fillChooser(this.#models.some(({ name }) => name === before) ? before : listed.default);
      this.#comparison.fill(this.#models, this.#select.value);
      this.#answering = this.#current();
      this.update();
    } catch (error) {
      // The page works without the list, and asks again after the next picture.
      if (!(error instanceof ServiceError)) throw error;
    }
  }

  /**
   * An answer tells about its model too, which is all there is to know while the list could not be had.
   * @param {Answer} answer
   */
  noteAnswer({ model, weights }) {
    this.#answering = { name: model, weights };
    this.update();
  }

  /** Write everything in the current language. */
  update() {
    for (const option of this.#select.options) {
      const model = this.#models.find(({ name }) => name === option.value);
      if (model) option.textContent = describe(model);
    }
    this.#comparison.update();
    byId("lead").textContent = t("lead", { count: integer(this.#current()?.class_count ?? DEFAULT_CLASS_COUNT) });
    const readsHeic = this.#current()?.picture_formats?.includes("HEIC");
    const storing = t(this.#takesReports ? "storedIfReported" : "notStored");
    byId("formats").textContent = t(readsHeic ? "formatsWithHeic" : "formats", { storing });
    const only = this.#models.length === 1 ? this.#models[0] : undefined;
    byId("only-model").hidden = !only;
    byId("only-model-name").textContent = only ? describe(only) : "";
    const title = this.#answering && BANNER_TITLES[this.#answering.weights];
    byId("banner").hidden = !title;
    if (this.#answering && title) {
      byId("banner-title").textContent = t(title);
      byId("banner-text").textContent = this.#bannerText(this.#answering);
    }
    this.onUpdate();
  }

  /** @param {{name: string, weights: Weights}} answering untrained, or the demonstration */
  #bannerText({ name, weights }) {
    if (weights === "untrained") return t("bannerUntrained", { name });
    const untrained = this.#models.filter((model) => model.weights === "untrained").map((model) => model.name);
    if (untrained.length === 0) return t("bannerDemonstration", { name });
    return t("bannerDemonstrationInstead", { name, untrained: list(untrained) });
  }

  #current() {
    return this.#models.find(({ name }) => name === this.#select.value);
  }

  /** @param {string | null | undefined} preselected */
  #fillChooser(preselected) {
    this.#select.replaceChildren(...this.#models.map(({ name }) => element("option", { value: name })));
    if (preselected) this.#select.value = preselected;
    this.#chooser.hidden = this.#models.length < 2;
  }
}

/** @param {Model} model */
function describe({ name, weights, ready }) {
  return ready ? modelName(name, weights) : t("modelNotReady", { name });
}

/**
 * The model's name, and what its weights are where one should know.
 * @param {string} name
 * @param {Weights} weights
 */
export function modelName(name, weights) {
  if (weights === "untrained") return t("modelUntrained", { name });
  return weights === "demonstration" ? t("modelDemonstration", { name }) : name;
}
