// One picture as a card: the picture itself, and what became of it.

import { copyText } from "./clipboard.js";
import { Cropping } from "./cropping.js";
import { element, icon } from "./dom.js";
import { enlarge } from "./enlarge.js";
import { errorText } from "./errors.js";
import { asLine } from "./export.js";
import { Report } from "./feedback.js";
import { firstOfSeveral } from "./frames.js";
import { byteSize, duration, t } from "./i18n.js";
import { modelName } from "./models.js";
import { hasMore, predictionList, verdictLine } from "./predictions.js";
import { SecondAnswer } from "./second.js";
import { Why } from "./why.js";

/** @import { Answer, Crop, ServiceError } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

/**
 * What a person can do with a picture.
 * @typedef {{start: (picture: Picture) => void, remove: (picture: Picture) => void,
 *   startSecond: (picture: Picture) => void, crop: (picture: Picture, part: Crop | undefined) => void,
 *   reported: (picture: Picture) => void}} Actions
 */

/** Far enough below what is seen that a preview is there when it is reached. */
const PREVIEW_MARGIN = "600px";
/** Pixels on a side of the blurred picture behind the picture. */
const BACKDROP_SIDE = 24;

let count = 0;
/** Previews are made of cards that come near: hundreds at once would take all memory. */
const near = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) target.dispatchEvent(new Event("near"));
    }
  },
  { rootMargin: PREVIEW_MARGIN },
);

export class Card {
  #image = element("img", { decoding: "async" });
  #frame = element("div", { className: "picture" }, this.#image);
  #backdrop = element("canvas", {
    className: "backdrop",
    width: BACKDROP_SIDE,
    height: BACKDROP_SIDE,
    "aria-hidden": "true",
  });
  #enlarge = element("button", { type: "button", className: "icon-button enlarge" }, icon("enlarge"));
  #stage = element("div", { className: "stage" }, this.#backdrop, this.#frame, this.#enlarge);
  #copy = element("button", { type: "button", className: "icon-button" });
  #remove = element("button", { type: "button", className: "icon-button" }, icon("close"));
  #content = element("div", { className: "content" });
  #bar = element("progress", { max: 1, "aria-hidden": "true" });
  /** @type {Answer | undefined} */
  #answered;
  /** @type {Why | undefined} */
  #why;
  /** @type {Report | undefined} */
  #report;
  /** What the first of several pictures in the file is called. */
  /** @type {"frame" | "page" | undefined} */
  #first;
  #firstNote = element("p", { className: "first-note", hidden: true });
  #second;
  #comparing = false;
  #showsAll = false;
  #phase = "";
  #cropping;
  #onChange = () => this.#change();
  #onSecondChange = () => this.#changeSecond();

  /**
   * @param {Picture} picture
   * @param {Actions} actions
   */
  constructor(picture, actions) {
    this.picture = picture;
    this.actions = actions;
    const id = `picture-${++count}`;
    this.element = element(
      "article",
      { className: "card", tabIndex: -1, "aria-labelledby": id },
      this.#stage,
      element(
        "div",
        { className: "body" },
        element("header", {}, element("h3", { id, title: picture.name }, picture.name), this.#copy, this.#remove),
        this.#content,
      ),
    );
    this.#second = new SecondAnswer(picture, (answer) => this.#column(answer), () => actions.startSecond(picture));
    this.#cropping = new Cropping(this.#frame, picture, (part) => {
      this.element.focus();
      actions.crop(picture, part);
    });
    this.#copy.addEventListener("click", () => {
      if (this.#answered) void copyText(asLine(this.#answered), (copied) => this.#labelCopy(copied));
    });
    this.#remove.addEventListener("click", () => actions.remove(picture));
    this.#content.addEventListener("animationend", () => this.element.classList.remove("fresh")); // bars grow once
    this.#enlarge.addEventListener("click", () => enlarge(picture.file, picture.name, this.#image.alt));
    this.#image.addEventListener("click", () => {
      this.#enlarge.focus({ preventScroll: true }); // where the dialog gives the focus back to
      this.#enlarge.click();
    });
    this.#stage.addEventListener("near", () => this.#preview(), { once: true });
    near.observe(this.#stage);
    firstOfSeveral(picture.file).then(
      (first) => {
        this.#first = first;
        this.#showFirst();
      },
      () => {}, // a file that cannot be read fails when it is sent
    );
    picture.addEventListener("change", this.#onChange);
    picture.second.addEventListener("change", this.#onSecondChange);
    this.update();
  }

  /** Take the card off the page for good. */
  dispose() {
    near.unobserve(this.#stage);
    this.picture.removeEventListener("change", this.#onChange);
    this.picture.second.removeEventListener("change", this.#onSecondChange);
    this.element.remove();
  }

  /** Write everything in the current language. */
  update() {
    const { picture, actions } = this;
    const { name, state } = picture;
    const answer = state.phase === "done" ? state.answer : undefined;
    if (answer !== this.#answered) {
      this.#answered = answer;
      this.#why?.remove();
      this.#why = answer && new Why(this.#frame, answer, this.picture);
      // Random answers are wrong without anybody's saying so.
      const reportable = answer && answer.weights !== "untrained";
      this.#report = reportable ? new Report(answer, picture, () => actions.reported(picture)) : undefined;
      this.element.classList.toggle("fresh", Boolean(answer));
    }
    const hadFocus = this.#content.contains(document.activeElement);
    this.#phase = state.phase;
    this.element.dataset.phase = state.phase;
    this.element.setAttribute("aria-busy", String(["waiting", "working"].includes(this.picture.outcome)));
    this.#image.alt = t("pictureAlt", { name });
    this.#copy.hidden = !answer || !asLine(answer);
    this.#labelCopy(false);
    this.#remove.setAttribute("aria-label", t("remove", { name }));
    this.#enlarge.setAttribute("aria-label", t("enlarge", { name }));
    this.#stage.dataset.noPreview = t("noPreview");
    this.#cropping.update();
    this.#showFirst();
    this.#content.replaceChildren(...this.#contentOf());
    if (hadFocus) this.element.focus(); // the button that had it is gone
  }

  /** Progress alone moves the bar; all else writes the card anew. */
  #change() {
    const { state } = this.picture;
    if (state.phase === "uploading" && this.#phase === "uploading") this.#showUpload(state.share);
    else this.update();
  }

  /** @param {boolean} copied */
  #labelCopy(copied) {
    this.#copy.replaceChildren(icon(copied ? "check" : "copy"));
    this.#copy.setAttribute("aria-label", t(copied ? "copied" : "copyLine"));
    this.#copy.title = t(copied ? "copied" : "copyLine");
  }

  #showFirst() {
    this.#firstNote.hidden = !this.#first;
    if (this.#first) this.#firstNote.textContent = t(this.#first === "page" ? "firstPage" : "firstFrame");
  }

  /** The rest of the card stays as it is, and with it the focus. */
  #changeSecond() {
    const isAsked = this.picture.second.state.phase !== "ready";
    if (isAsked !== this.#comparing) this.update();
    else if (isAsked) this.#second.update(this.#showsAll);
  }

  #preview() {
    near.unobserve(this.#stage);
    const address = URL.createObjectURL(this.picture.file);
    this.#image.src = address;
    this.#image.decode().then(
      () => {
        URL.revokeObjectURL(address);
        const { naturalWidth, naturalHeight } = this.#image;
        this.#cropping.measure(this.#image);
        this.#stage.style.setProperty("--ratio", String(naturalWidth / naturalHeight));
        this.#backdrop.getContext("2d")?.drawImage(this.#image, 0, 0, BACKDROP_SIDE, BACKDROP_SIDE);
      },
      () => {
        URL.revokeObjectURL(address);
        this.element.classList.add("no-preview");
      },
    );
  }

  #contentOf() {
    const { state } = this.picture;
    if (state.phase === "done") return this.#answer(state.answer);
    if (state.phase === "failed") return this.#failure(state.error);
    this.#bar.hidden = state.phase !== "uploading";
    if (state.phase === "uploading") this.#showUpload(state.share);
    const nodes = [element("p", { className: "progress" }, t(state.phase)), this.#bar];
    if (state.phase === "ready") return [...nodes, ...this.#croppingNodes()];
    return [...nodes, element("div", { className: "skeleton", "aria-hidden": "true" }, ...[1, 2, 3].map(() => element("span")))];
  }

  #croppingNodes() {
    return [element("div", { className: "actions" }, this.#cropping.button), this.#cropping.panel, this.#cropping.note];
  }

  /** @param {number} share */
  #showUpload(share) {
    this.#bar.value = share;
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
      if (this.#comparing) this.#second.update(this.#showsAll);
      labelMore();
    });
    /** @type {HTMLElement[]} */
    const nodes = [];
    this.#comparing = this.picture.second.state.phase !== "ready";
    this.element.classList.toggle("comparing", this.#comparing);
    if (this.#comparing) {
      const [heading, meta] = this.#column(answer);
      const own = element("section", { className: "column" }, heading, ...verdictLine(answer), list, meta);
      this.#second.update(this.#showsAll);
      nodes.push(element("div", { className: "columns" }, own, this.#second.column), this.#second.agreement);
    } else {
      nodes.push(...verdictLine(answer), list);
    }
    const actions = element("div", { className: "actions" }, more);
    nodes.push(actions);
    if (this.#why) {
      this.#why.update();
      actions.append(this.#why.button);
      nodes.push(this.#why.panel);
    }
    actions.append(this.#cropping.button);
    nodes.push(this.#cropping.panel, this.#cropping.note);
    if (this.#report) {
      this.#report.update();
      actions.append(this.#report.button);
      nodes.push(this.#report.panel);
    }
    if (!this.#comparing) nodes.push(element("p", { className: "meta" }, `${modelName(answer.model, answer.weights)} · ${timeOf(answer)}`));
    nodes.push(this.#firstNote);
    const { upload, file, crop } = this.picture;
    if (upload && upload !== file && !crop) nodes.push(this.#shrunk(upload));
    return nodes;
  }

  /**
   * @param {Answer} answer
   * @returns {HTMLElement[]} heading and last line of its column
   */
  #column(answer) {
    return [element("h4", {}, modelName(answer.model, answer.weights)), element("p", { className: "meta" }, timeOf(answer))];
  }

  /** @param {Blob} upload */
  #shrunk(upload) {
    const { file } = this.picture;
    const original = element("button", { type: "button", className: "link" }, t("sendOriginal"));
    original.addEventListener("click", () => {
      this.picture.original = true;
      this.actions.start(this.picture);
    });
    const text = t("shrunk", { from: byteSize(file.size), to: byteSize(upload.size) });
    return element("p", { className: "meta" }, text, ...(this.picture.original ? [] : [" ", original]));
  }

  /** @param {ServiceError} error */
  #failure(error) {
    const nodes = [element("p", { className: "failure" }, icon("alert"), errorText(error, this.picture.file))];
    if (error.requestId) nodes.push(element("p", { className: "meta" }, t("reference", { id: error.requestId })));
    if (error.retryable) {
      const retry = element("button", { type: "button" }, icon("retry"), t("retry"));
      retry.addEventListener("click", () => this.actions.start(this.picture));
      nodes.push(element("div", { className: "actions" }, retry));
    }
    return nodes;
  }
}

/** @param {Answer} answer */
function timeOf({ cache, time_ms }) {
  return cache === "hit" ? t("cached") : t("time", { time: duration(time_ms) });
}
