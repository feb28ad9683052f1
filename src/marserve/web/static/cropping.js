// The frame around what the network saw of a picture: shown where that is little of it, and moved by who wants another part.

import { element, icon } from "./dom.js";
import { integer, t } from "./i18n.js";
import { preprocessingOf } from "./models.js";
import { area, around, lay, middle, WHOLE, within } from "./seen.js";

/** @import { Crop } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

/** The frame is drawn unasked where the network saw less of the picture than this. */
const LITTLE = 0.5;
/** Of the picture's shorter side; less would be a guess from a few pixels. */
const SMALLEST = 0.05;
const STEP = 0.02;
const LARGE_STEP = 0.1;
/** What is used where a model does not say what it sees: the middle square. */
const ALL_OF_IT = { resize_size: 1, crop_size: 1 };

/** Which edges each corner moves. */
const CORNERS = /** @type {const} */ ([
  [-1, -1],
  [1, -1],
  [-1, 1],
  [1, 1],
]);
const MOVES = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
});

let count = 0;

export class Cropping {
  #label = element("span");
  #hint = element("p", { id: `crop-hint-${++count}` });
  #size = element("input", { type: "range", min: String(100 * SMALLEST), max: "100", step: "1" });
  #sizeLabel = element("span");
  #position = element("p", { className: "for-screen-readers", role: "status" });
  #apply = element("button", { type: "button", className: "primary" });
  #reset = element("button", { type: "button" });
  #cancel = element("button", { type: "button" });
  /** What is seen now. */
  #seen = element("div", { className: "seen", hidden: true });
  /** What will be: movable. */
  #frame = element("div", { className: "crop-frame", tabIndex: 0, role: "application", hidden: true });
  /** The size of the upright picture in pixels, once it is known. */
  #width = 0;
  #height = 0;
  /** The frame's middle and side, in pixels of the picture. */
  #x = 0;
  #y = 0;
  #side = 0;
  #picture;
  #container;
  #onCrop;

  button = element("button", { type: "button", className: "quiet crop-button" }, icon("crop"), this.#label);
  panel = element("div", { className: "cropping", hidden: true, id: `crop-${count}` });
  /** Says that only a part was seen, and offers another one. */
  note = element("p", { className: "crop-note", hidden: true });

  /**
   * @param {HTMLElement} container exactly as large as the picture in it
   * @param {Picture} picture
   * @param {(crop: Crop | undefined) => void} onCrop called with the part to ask about; undefined: as it would be by itself
   */
  constructor(container, picture, onCrop) {
    this.#container = container;
    this.#picture = picture;
    this.#onCrop = onCrop;
    this.panel.append(
      this.#hint,
      element("label", { className: "strength" }, this.#sizeLabel, this.#size),
      this.#position,
      element("div", { className: "buttons" }, this.#apply, this.#reset, this.#cancel),
    );
    this.#frame.append(...CORNERS.map(([x, y]) => element("span", { className: "handle", dataset: { x, y } })));
    this.#frame.setAttribute("aria-describedby", this.#hint.id);
    container.append(this.#seen, this.#frame);
    this.button.setAttribute("aria-controls", this.panel.id);
    this.button.addEventListener("click", () => (this.panel.hidden ? this.open() : this.#close()));
    this.#apply.addEventListener("click", () => this.#finish());
    this.#reset.addEventListener("click", () => this.#restore());
    this.#cancel.addEventListener("click", () => this.#close());
    this.#size.addEventListener("input", () => this.#place({ side: (this.#size.valueAsNumber / 100) * this.#shorter }));
    this.#frame.addEventListener("keydown", (event) => this.#onKey(event));
    this.#frame.addEventListener("pointerdown", (event) => this.#drag(event));
    this.update();
  }

  /**
   * The picture is shown now.
   * @param {HTMLImageElement} image
   */
  measure({ naturalWidth, naturalHeight }) {
    this.#width = naturalWidth;
    this.#height = naturalHeight;
    this.update();
  }

  /** Show the current state in the current language. */
  update() {
    const open = !this.panel.hidden;
    const seen = this.#seenNow();
    const little = Boolean(seen) && area(seen ?? WHOLE) < LITTLE;
    const framed = Boolean(seen) && (little || Boolean(this.#picture.crop));
    if (seen) lay(this.#seen, seen);
    this.#seen.hidden = open || !framed;
    this.#frame.hidden = !open;
    this.#container.classList.toggle("being-cropped", open);
    this.button.disabled = this.#width === 0; // there, so that nothing moves once it can be used
    this.button.setAttribute("aria-expanded", String(open));
    this.#label.textContent = t("crop");
    this.#hint.textContent = t("cropHint");
    this.#sizeLabel.textContent = t("cropSize");
    this.#apply.textContent = t(this.#picture.state.phase === "ready" ? "cropKeep" : "cropApply");
    this.#reset.textContent = t("cropReset");
    this.#cancel.textContent = t("cancel");
    this.#frame.setAttribute("aria-label", t("cropFrame"));
    const link = element("button", { type: "button", className: "link" }, t("cropOther"));
    link.addEventListener("click", () => this.open());
    this.note.hidden = !framed || open;
    const text = t(this.#picture.state.phase === "ready" ? "cropWillSee" : this.#picture.crop ? "cropSent" : "cropMiddle");
    this.note.replaceChildren(text, " ", link);
  }

  open() {
    this.panel.hidden = false;
    this.update();
    this.#showPart(this.#seenNow() ?? middle(this.#pictureSize, ALL_OF_IT));
    this.#frame.focus();
  }

  #close() {
    this.panel.hidden = true;
    this.update();
    this.button.focus();
  }

  #finish() {
    const [width, height] = [this.#side / this.#width, this.#side / this.#height];
    const [x, y] = [this.#x / this.#width, this.#y / this.#height];
    const frame = { left: x - width / 2, top: y - height / 2, right: x + width / 2, bottom: y + height / 2 };
    this.#close();
    this.#onCrop(around(frame, this.#preprocessing ?? ALL_OF_IT));
  }

  #restore() {
    if (this.#picture.crop) {
      this.#close();
      this.#onCrop(undefined);
    } else {
      this.#showPart(middle(this.#pictureSize, this.#preprocessing ?? ALL_OF_IT));
      this.#frame.focus();
    }
  }

  get #shorter() {
    return Math.min(this.#width, this.#height);
  }

  get #pictureSize() {
    return { width: this.#width, height: this.#height };
  }

  get #preprocessing() {
    const { state } = this.#picture;
    return preprocessingOf(state.phase === "done" ? state.answer.model : undefined);
  }

  /** @returns {Crop | undefined} undefined as long as it is not known */
  #seenNow() {
    if (!this.#preprocessing || this.#width === 0) return undefined;
    const region = this.#picture.crop ?? WHOLE;
    const size = { width: (region.right - region.left) * this.#width, height: (region.bottom - region.top) * this.#height };
    return within(region, middle(size, this.#preprocessing));
  }

  /** @param {Crop} part */
  #showPart({ left, top, right, bottom }) {
    const x = ((left + right) / 2) * this.#width;
    this.#place({ x, y: ((top + bottom) / 2) * this.#height, side: (right - left) * this.#width });
  }

  /**
   * Set the frame, inside the picture.
   * @param {{x?: number, y?: number, side?: number}} wished
   */
  #place({ x = this.#x, y = this.#y, side = this.#side }) {
    this.#side = Math.min(this.#shorter, Math.max(this.#shorter * SMALLEST, side));
    const half = this.#side / 2;
    this.#x = Math.min(this.#width - half, Math.max(half, x));
    this.#y = Math.min(this.#height - half, Math.max(half, y));
    lay(this.#frame, {
      left: (this.#x - half) / this.#width,
      top: (this.#y - half) / this.#height,
      right: (this.#x + half) / this.#width,
      bottom: (this.#y + half) / this.#height,
    });
    const size = Math.round((100 * this.#side) / this.#shorter);
    this.#size.value = String(size);
    /** @param {number} share */
    const percent = (share) => `${integer(Math.round(100 * share))}%`;
    this.#size.setAttribute("aria-valuetext", percent(size / 100));
    const values = { x: percent(this.#x / this.#width), y: percent(this.#y / this.#height), size: percent(size / 100) };
    this.#position.textContent = t("cropPosition", values);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { key, shiftKey, ctrlKey, altKey, metaKey } = event;
    if (ctrlKey || altKey || metaKey) return;
    const step = (shiftKey ? LARGE_STEP : STEP) * this.#shorter;
    if (key in MOVES) this.#place({ x: this.#x + MOVES[key][0] * step, y: this.#y + MOVES[key][1] * step });
    else if (key === "+" || key === "=") this.#place({ side: this.#side + 2 * STEP * this.#shorter });
    else if (key === "-" || key === "_") this.#place({ side: this.#side - 2 * STEP * this.#shorter });
    else if (key === "Enter") this.#finish();
    else if (key === "Escape") this.#close();
    else return;
    event.preventDefault();
  }

  /**
   * The frame follows the pointer; at a corner it grows and shrinks, and the corner across stays.
   * @param {PointerEvent} start
   */
  #drag(start) {
    if (start.button !== 0 || !(start.target instanceof HTMLElement)) return;
    start.preventDefault();
    this.#frame.focus({ preventScroll: true });
    this.#frame.setPointerCapture(start.pointerId);
    const scale = this.#width / this.#container.clientWidth;
    const [x, y, side] = [this.#x, this.#y, this.#side];
    const [toX, toY] = [Number(start.target.dataset.x ?? 0), Number(start.target.dataset.y ?? 0)];
    const [fixedX, fixedY] = [x - (toX * side) / 2, y - (toY * side) / 2];
    /** @param {PointerEvent} event */
    const move = ({ clientX, clientY }) => {
      const [dx, dy] = [(clientX - start.clientX) * scale, (clientY - start.clientY) * scale];
      if (toX === 0) {
        this.#place({ x: x + dx, y: y + dy });
        return;
      }
      const [roomX, roomY] = [toX > 0 ? this.#width - fixedX : fixedX, toY > 0 ? this.#height - fixedY : fixedY];
      const wished = Math.max(SMALLEST * this.#shorter, side + (toX * dx + toY * dy) / 2);
      const next = Math.min(wished, roomX, roomY);
      this.#place({ x: fixedX + (toX * next) / 2, y: fixedY + (toY * next) / 2, side: next });
    };
    const end = () => {
      this.#frame.removeEventListener("pointermove", move);
      this.#frame.removeEventListener("lostpointercapture", end);
    };
    this.#frame.addEventListener("pointermove", move);
    this.#frame.addEventListener("lostpointercapture", end);
  }
}
