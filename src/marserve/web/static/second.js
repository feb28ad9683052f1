// What a second model says of a picture, beside the answer of the first.

import { element, icon } from "./dom.js";
import { errorText } from "./errors.js";
import { t } from "./i18n.js";
import { predictionList, verdictLine } from "./predictions.js";

/** @import { Answer, Prediction } from "./api.js" */
/** @import { Picture } from "./pictures.js" */

export class SecondAnswer {
  #picture;
  #describe;
  #onRetry;
  column = element("section", { className: "column" });
  /** Whether both models say the same. */
  agreement = element("p", { className: "agreement" });

  /**
   * @param {Picture} picture
   * @param {(answer: Answer) => HTMLElement[]} describe heading and last line of a column
   * @param {() => void} onRetry
   */
  constructor(picture, describe, onRetry) {
    this.#picture = picture;
    this.#describe = describe;
    this.#onRetry = onRetry;
  }

  /** @param {boolean} all every class of the answer instead of the first few */
  update(all) {
    const { state, second } = this.#picture;
    const first = state.phase === "done" && state.answer;
    const other = second.state.phase === "done" && second.state.answer;
    // To agree with random labels, or not, says nothing.
    const means = first && other && ![first.weights, other.weights].includes("untrained");
    this.agreement.hidden = !means;
    if (means) {
      const agree = areSame(first.predictions[0], other.predictions[0]);
      this.agreement.dataset.agree = String(agree);
      this.agreement.replaceChildren(icon(agree ? "check" : "alert"), t(agree ? "modelsAgree" : "modelsDisagree"));
    }
    const hadFocus = this.column.contains(document.activeElement);
    this.column.replaceChildren(...this.#content(all));
    this.column.setAttribute("aria-busy", String(["waiting", "working"].includes(second.outcome)));
    if (hadFocus) this.column.closest("article")?.focus();
  }

  /** @param {boolean} all */
  #content(all) {
    const { state } = this.#picture.second;
    if (state.phase === "done") {
      const [heading, meta] = this.#describe(state.answer);
      return [heading, ...verdictLine(state.answer), predictionList(state.answer, all), meta];
    }
    if (state.phase === "failed") {
      const retry = element("button", { type: "button" }, icon("retry"), t("retry"));
      retry.addEventListener("click", this.#onRetry);
      const failure = element("p", { className: "failure" }, icon("alert"), errorText(state.error, this.#picture.file));
      return state.error.retryable ? [failure, element("div", { className: "actions" }, retry)] : [failure];
    }
    const lines = [1, 2, 3].map(() => element("span"));
    return [element("p", { className: "progress" }, t(state.phase)), element("div", { className: "skeleton", "aria-hidden": "true" }, ...lines)];
  }
}

/**
 * @param {Prediction} one
 * @param {Prediction} other
 */
function areSame(one, other) {
  return one.wnid && other.wnid ? one.wnid === other.wnid : one.label === other.label;
}
