// Why the network answered as it did: its class activation map laid over the picture, on demand.

import { explain, ServiceError } from "./api.js";
import { element, icon } from "./dom.js";
import { errorText } from "./errors.js";
import { GRADIENT, paintHeatmap } from "./heatmap.js";
import { t } from "./i18n.js";
import { className } from "./labels.js";
import { lay, WHOLE, within } from "./seen.js";

/** @import { Answer, Crop, Explanation } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

const INITIAL_STRENGTH_PERCENT = 75;
/** Pixels of the longer side of what is saved. */
const SAVED_SIDE = 2048;
let count = 0;

export class Why {
  #label = element("span");
  #text = element("p", { className: "why-text" });
  #slider = element("input", { type: "range", min: "0", max: "100", value: String(INITIAL_STRENGTH_PERCENT) });
  #sliderLabel = element("span");
  #strength = element("label", { className: "strength" }, this.#sliderLabel, this.#slider);
  #weak = element("span");
  #strong = element("span");
  #colors = element("span", { className: "colors", "aria-hidden": "true" });
  #legend = element("p", { className: "legend" }, this.#weak, this.#colors, this.#strong);
  #class = element("select");
  #classLabel = element("span");
  #choice = element("label", { className: "map-class" }, this.#classLabel, this.#class);
  #save = element("button", { type: "button", className: "link" });
  #canvas = element("canvas", { className: "heatmap" });
  #overlay = element("div", { className: "overlay", hidden: true }, this.#canvas);
  /** @type {Explanation | undefined} */
  #explanation;
  /** What the map covers of the picture. */
  /** @type {Crop | undefined} */
  #crop;
  /** @type {ServiceError | undefined} */
  #error;
  #frame;

  button = element("button", { type: "button", className: "quiet why-button" }, icon("map"), this.#label);
  panel = element("div", { className: "why", hidden: true, id: `why-${++count}` }, this.#choice, this.#text);

  /**
   * @param {HTMLElement} frame exactly as large as the picture in it, which the map is laid over
   * @param {Answer} answer
   * @param {Picture} picture
   */
  constructor(frame, answer, picture) {
    this.#frame = frame;
    this.answer = answer;
    this.picture = picture;
    this.panel.append(this.#legend, this.#strength, this.#save);
    this.#colors.style.background = GRADIENT;
    const classes = answer.predictions.map(({ class_id }) => element("option", { value: String(class_id) }));
    this.#class.replaceChildren(...classes);
    this.#class.addEventListener("change", () => this.#fetch());
    this.#save.addEventListener("click", () => this.#download());
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
    for (const node of [this.#strength, this.#legend, this.#save]) node.hidden = !this.#explanation;
    this.#classLabel.textContent = t("whyClass");
    [...this.#class.options].forEach((option, index) => (option.textContent = className(this.answer.predictions[index])));
    this.#weak.textContent = t("whyWeak");
    this.#strong.textContent = t("whyStrong");
    this.#save.textContent = t("whySave");
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
    const chosen = this.#class.selectedIndex;
    const { class_id } = this.answer.predictions[chosen];
    this.#explanation = undefined;
    this.#error = undefined;
    this.update();
    try {
      // The first class needs no name, which archives of before do not know.
      const options = { model: this.answer.model, classId: chosen > 0 ? class_id : undefined, signal };
      const { explanation } = await explain(await this.picture.prepare(), options);
      if (chosen !== this.#class.selectedIndex) return; // another one was chosen meanwhile
      paintHeatmap(this.#canvas, explanation.map);
      this.#cover(explanation);
      this.#explanation = explanation;
    } catch (error) {
      if (signal.aborted || chosen !== this.#class.selectedIndex) return;
      if (!(error instanceof ServiceError)) throw error;
      this.#error = error;
    }
    this.update();
  }

  /** The picture with the map as it is shown, as a PNG. */
  async #download() {
    const image = this.#frame.querySelector("img");
    if (!image || !this.#crop) return;
    const scale = Math.min(1, SAVED_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = element("canvas", { width: image.naturalWidth * scale, height: image.naturalHeight * scale });
    const context = canvas.getContext("2d");
    const { left, top, right, bottom } = this.#crop;
    const { width, height } = canvas;
    context?.drawImage(image, 0, 0, width, height);
    if (context) context.globalAlpha = this.#slider.valueAsNumber / 100;
    context?.drawImage(this.#canvas, left * width, top * height, (right - left) * width, (bottom - top) * height);
    const png = await new Promise((/** @type {BlobCallback} */ resolve) => canvas.toBlob(resolve, "image/png"));
    if (!png) return;
    const href = URL.createObjectURL(png);
    const link = element("a", { href, download: `${this.picture.name.replace(/\.[^.]*$/, "")}-map.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
  }

  /** @param {Explanation} explanation */
  #cover({ crop }) {
    this.#crop = within(this.picture.crop ?? WHOLE, crop);
    lay(this.#overlay, this.#crop);
  }

  #applyStrength() {
    this.#canvas.style.opacity = String(this.#slider.valueAsNumber / 100);
  }
}
