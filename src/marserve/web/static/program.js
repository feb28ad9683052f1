// For people who write programs: the request of this page as code in several languages, in tabs with the ARIA pattern.

import { address } from "./api.js";
import { copyText } from "./clipboard.js";
import { byId, element } from "./dom.js";
import { t } from "./i18n.js";
import { keyHeader } from "./key.js";
import { SAMPLES } from "./samples.js";

/** @import { Models } from "./models.js" */
/** @import { Sample } from "./samples.js" */

/** Where the arrow keys lead to, from the tab with this index. */
const STEPS = new Map([
  ["ArrowLeft", (/** @type {number} */ index) => index - 1],
  ["ArrowRight", (/** @type {number} */ index) => index + 1],
  ["Home", () => 0],
  ["End", () => -1],
]);

/** In code that has to name a model, as long as the service has not said what it serves. */
const FALLBACK_MODEL = "resnet18";

export class Program {
  #panel = byId("sample-panel");
  #tabs = SAMPLES.map((sample) => this.#tab(sample));
  #chosen = SAMPLES[0];

  /** @param {Models} models */
  constructor(models) {
    this.models = models;
    byId("sample-tabs").append(...this.#tabs);
    const copy = byId("copy");
    copy.addEventListener("click", () =>
      copyText(this.#code(), (copied) => (copy.textContent = t(copied ? "copied" : "copy"))),
    );
    this.update();
  }

  /** Write it for the model that is chosen now, the key and the language. */
  update() {
    for (const [index, tab] of this.#tabs.entries()) {
      const isChosen = SAMPLES[index] === this.#chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    }
    this.#panel.setAttribute("aria-labelledby", `sample-tab-${this.#chosen.id}`);
    byId("sample").textContent = this.#code();
    byId("sample-note").textContent = [
      t(`sample.${this.#chosen.id}`),
      ...(this.#needsKey ? [t("sampleKey", { name: "API_KEY" })] : []),
    ].join(" ");
  }

  get #needsKey() {
    return "Authorization" in keyHeader();
  }

  #code() {
    const { chosen, preset } = this.models;
    return this.#chosen.write({
      base: address(""),
      model: chosen === preset ? undefined : chosen,
      served: chosen ?? preset ?? FALLBACK_MODEL,
      needsKey: this.#needsKey,
    });
  }

  /** @param {Sample} sample */
  #tab(sample) {
    const tab = element(
      "button",
      { type: "button", id: `sample-tab-${sample.id}`, role: "tab", "aria-controls": "sample-panel" },
      sample.name,
    );
    tab.addEventListener("click", () => this.#choose(sample));
    tab.addEventListener("keydown", (event) => {
      const step = STEPS.get(event.key);
      if (!step) return;
      event.preventDefault();
      const index = (step(this.#tabs.indexOf(tab)) + SAMPLES.length) % SAMPLES.length;
      this.#choose(SAMPLES[index]);
      this.#tabs[index].focus();
    });
    return tab;
  }

  /** @param {Sample} sample */
  #choose(sample) {
    this.#chosen = sample;
    this.update();
  }
}
