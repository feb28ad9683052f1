// "This is wrong": the right class of a picture, for whoever runs the service; only where the service takes it.

import { listClasses, report, ServiceError } from "./api.js";
import { element, icon } from "./dom.js";
import { errorText } from "./errors.js";
import { integer, language, t } from "./i18n.js";
import { className, loadLabels } from "./labels.js";

/** @import { Answer, NamedClass } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

/** Of the answer's other classes, one of which is often the right one. */
const SUGGESTIONS = 4;

/** The classes of each model, as far as it lists them. */
/** @type {Map<string, Promise<NamedClass[]>>} */
const classesOf = new Map();
/** What the browser completes from; filled for one model at a time, since a list may have a thousand names. */
const names = element("datalist", { id: "class-names" });
document.body.append(names);
let count = 0;

/** @param {string} model */
function classes(model) {
  let listed = classesOf.get(model);
  if (!listed) {
    listed = listClasses(model).catch((error) => {
      if (!(error instanceof ServiceError)) throw error;
      classesOf.delete(model); // words do without the list, and the next form tries again
      return [];
    });
    classesOf.set(model, listed);
  }
  return listed;
}

/** @param {string} text */
const plain = (text) => text.trim().replace(/\s+/g, " ").toLowerCase();

export class Report {
  #buttonLabel = element("span");
  #label = element("label");
  #input = element("input", { type: "text", required: true, maxLength: 200, autocomplete: "off" });
  #suggestions = element("div", { className: "suggestions" });
  #meaning = element("p", { className: "report-meaning", role: "status" });
  #keeping = element("p", { className: "report-keeping" });
  #failure = element("p", { className: "report-failure", role: "alert" });
  #send = element("button", { type: "submit", className: "primary" });
  #cancel = element("button", { type: "button" });
  #form = element("form", { className: "report-form" });
  #thanks = element("p", { className: "thanks", tabIndex: -1 });
  /** @type {NamedClass[]} */
  #classes = [];
  #sending = false;
  /** @type {ServiceError | "same" | undefined} */
  #error;

  button = element("button", { type: "button", className: "quiet report-button" }, icon("flag"), this.#buttonLabel);
  panel = element("div", { className: "report" });

  /**
   * @param {Answer} answer
   * @param {Picture} picture
   * @param {() => void} onReported called once it is kept
   */
  constructor(answer, picture, onReported) {
    this.onReported = onReported;
    this.answer = answer;
    this.picture = picture;
    const id = `report-${++count}`;
    this.#form.id = id;
    this.#form.hidden = true;
    this.#input.id = this.#label.htmlFor = `${id}-class`;
    this.#keeping.id = `${id}-keeping`;
    this.#input.setAttribute("aria-describedby", this.#keeping.id);
    this.button.setAttribute("aria-controls", id);
    this.#form.append(
      this.#label,
      this.#input,
      this.#meaning,
      this.#suggestions,
      this.#keeping,
      this.#failure,
      element("div", { className: "report-buttons" }, this.#send, this.#cancel),
    );
    this.panel.append(this.#form, this.#thanks);
    this.button.addEventListener("click", () => this.#open(Boolean(this.#form.hidden)));
    this.#cancel.addEventListener("click", () => this.#open(false));
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#open(false);
    });
    this.#input.addEventListener("input", () => {
      this.#error = undefined;
      this.update();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.update();
  }

  /** Show the current state in the current language. */
  update() {
    const { reported } = this.picture;
    const open = !this.#form.hidden;
    this.button.hidden = Boolean(reported);
    this.button.setAttribute("aria-expanded", String(open));
    this.#buttonLabel.textContent = t("report");
    this.#thanks.hidden = !reported;
    if (reported) {
      this.#form.hidden = true;
      const name = reported.right ? className(reported.right) : reported.other;
      const id = element("span", { className: "report-id" }, t("reportId", { id: reported.id }));
      this.#thanks.replaceChildren(t("reportThanks", { name }), id);
    }
    this.#label.textContent = t("reportLabel");
    this.#send.textContent = t(this.#sending ? "reportSending" : "reportSend");
    this.#send.disabled = this.#sending;
    this.#cancel.textContent = t("cancel");
    this.#keeping.textContent = t("reportKeeping");
    this.#suggestions.setAttribute("role", "group");
    this.#suggestions.setAttribute("aria-label", t("reportSuggestions"));
    this.#showSuggestions();
    const isOther = this.#input.value.trim() !== "" && this.#classes.length > 0 && !this.#meant();
    this.#meaning.textContent = isOther ? t("reportOther", { count: integer(this.#classes.length) }) : "";
    this.#failure.textContent =
      this.#error === "same" ? t("reportSame") : this.#error ? errorText(this.#error) : "";
    if (open) this.#fillNames();
  }

  /** @param {boolean} open */
  #open(open) {
    this.#form.hidden = !open;
    this.#error = undefined;
    this.update();
    if (!open) {
      this.button.focus();
      return;
    }
    this.#input.focus();
    void this.#load();
  }

  async #load() {
    await loadLabels();
    this.#classes = await classes(this.answer.model);
    this.update();
  }

  /** The names that the browser offers: in the page's language, with the model's own beside them. */
  #fillNames() {
    this.#input.setAttribute("list", names.id);
    const filled = `${this.answer.model} ${language()} ${this.#classes.length}`;
    if (names.dataset.filled === filled) return;
    names.dataset.filled = filled;
    names.replaceChildren(
      ...this.#classes.map((known) => {
        const name = className(known);
        return element("option", { value: name, label: name === known.label ? "" : known.label });
      }),
    );
  }

  #showSuggestions() {
    const [, ...others] = this.answer.predictions;
    this.#suggestions.replaceChildren(
      ...others.slice(0, SUGGESTIONS).map((prediction) => {
        const name = className(prediction);
        const button = element("button", { type: "button", className: "suggestion" }, name);
        button.addEventListener("click", () => {
          this.#input.value = name;
          this.#error = undefined;
          this.update();
          this.#input.focus();
        });
        return button;
      }),
    );
  }

  /** @returns {NamedClass | undefined} the class that the words in the form name, in either language */
  #meant() {
    const wanted = plain(this.#input.value);
    const known = [...this.answer.predictions, ...this.#classes];
    return known.find((one) => [className(one), one.label, one.wnid ?? ""].some((name) => plain(name) === wanted));
  }

  async #submit() {
    const { signal } = this.picture;
    const [answered] = this.answer.predictions;
    const right = this.#meant();
    const other = this.#input.value.trim();
    if (this.#sending || other === "") return;
    if (right?.class_id === answered.class_id) {
      this.#error = "same";
      this.update();
      return;
    }
    this.#sending = true;
    this.#error = undefined;
    this.update();
    try {
      const { id } = await report(await this.picture.prepare(), {
        model: this.answer.model,
        predicted: answered.class_id,
        ...(right ? { right: right.class_id } : { other }),
        signal,
      });
      this.picture.reported = { id, right, other };
      this.onReported();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) throw error;
      this.#error = error;
    } finally {
      this.#sending = false;
      this.update();
    }
    if (!this.#error) this.#thanks.focus();
  }
}
