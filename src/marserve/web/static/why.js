// Why the network answered as it did: its class activation map laid over the picture, on demand.

import { explain, ServiceError } from "./api.js";
import { element, icon } from "./dom.js";
import { errorText } from "./errors.js";
import { paintHeatmap } from "./heatmap.js";
import { t } from "./i18n.js";
import { className } from "./labels.js";
import { lay, WHOLE, within } from "./seen.js";

/** @import { Answer, Explanation } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

const INITIAL_STRENGTH_PERCENT = 75;
let count = 0;

export class Why {
  #label = element("span");
  #text = element("p", { className: "why-text" });
  #slider = element("input", { type: "range", min: "0", max: "100", value: String(INITIAL_STRENGTH_PERCENT) });
  #sliderLabel = element("span");
  #strength = element("label", { className: "strength" }, this.#sliderLabel, this.#slider);
  #canvas = element("canvas", { className: "heatmap" });
  #overlay = element("div", { className: "overlay", hidden: true }, this.#canvas);
  /** @type {Explanation | undefined} */
  #explanation;
  /** @type {ServiceError | undefined} */
  #error;

  button = element("button", { type: "button", className: "quiet why-button" }, icon("map"), this.#label);
  panel = element("div", { className: "why", hidden: true, id: `why-${++count}` }, this.#text, this.#strength);

  /**
   * @param {HTMLElement} frame exactly as large as the picture in it, which the map is laid over
   * @param {Answer} answer
   * @param {Picture} picture
   */
  constructor(frame, answer, picture) {
    this.answer = answer;
    this.picture = picture;
    this.button.setAttribute("aria-controls", this.panel.id);
    this.button.addEventListener("click", () => this.#toggle());
    this.#slider.addEventListener("input", () => this.#applyStrength());
    frame.append(this.#overlay);
    this.#applyStrength();
    this.update();
  }

  /** Show the current state in the current language. */
  update() {
    const open = !this.panel.hidden;
    this.#label.textContent = t(open ? "whyHide" : "why");
    this.button.setAttribute("aria-expanded", String(open));
    this.#overlay.hidden = !open || !this.#explanation;
    this.#strength.hidden = !this.#explanation;
    this.#sliderLabel.textContent = t("whyStrength");
    this.#text.textContent = this.#describe();
  }

  /** Take the map off the picture for good. */
  remove() {
    this.#overlay.remove();
  }

  #describe() {
    if (this.#error) return t("whyFailed", { reason: errorText(this.#error) });
    if (!this.#explanation) return t("whyLoading");
    const { class_id } = this.#explanation;
    const explained = this.answer.predictions.find((prediction) => prediction.class_id === class_id);
    return t("whyText", { label: explained ? className(explained) : String(class_id) });
  }

  async #toggle() {
    this.panel.hidden = !this.panel.hidden;
    this.#error = undefined;
    this.update();
    if (!this.panel.hidden && !this.#explanation) await this.#fetch();
  }

  async #fetch() {
    const { signal } = this.picture;
    try {
      const { explanation } = await explain(await this.picture.prepare(), { model: this.answer.model, signal });
      paintHeatmap(this.#canvas, explanation.map);
      this.#cover(explanation);
      this.#explanation = explanation;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      this.#error = error;
    }
    this.update();
  }

  /** @param {Explanation} explanation */
  #cover({ crop }) {
    lay(this.#overlay, within(this.picture.crop ?? WHOLE, crop));
  }

  #applyStrength() {
    this.#canvas.style.opacity = String(this.#slider.valueAsNumber / 100);
  }
}
