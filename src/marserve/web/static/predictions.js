// The answer's classes as a list of bars.

import { element, icon } from "./dom.js";
import { integer, language, percent, t } from "./i18n.js";
import { className } from "./labels.js";
import { classCounts } from "./models.js";
import { view } from "./view.js";

/** @import { Answer, Prediction } from "./api.js" */

/** From which probability of the first class on the answer is called by which name. */
const VERDICTS = /** @type {const} */ ([
  [0.8, "verdictSure"],
  [0.5, "verdictLikely"],
  [0, "verdictUnsure"],
]);

/** @param {Answer} answer */
export function verdict(answer) {
  const [first] = view.select(answer);
  if (!first) return t("nothingAbove", { percent: percent(view.threshold, 0) });
  if (answer.weights === "untrained") return t("verdictUntrained");
  return t(VERDICTS.find(([threshold]) => first.probability >= threshold)?.[1] ?? "verdictUnsure");
}

let explanations = 0;

/**
 * The verdict, and beside it, above the column of percentages, what those are; a press explains it.
 * @param {Answer} answer
 */
export function verdictLine(answer) {
  const count = classCounts.get(answer.model);
  const text = count ? t("confidenceText", { count: integer(count) }) : t("confidenceTextPlain");
  const explanation = element("p", { className: "explanation", id: `confidence-${++explanations}`, hidden: true }, text);
  const button = element("button", { type: "button", className: "quiet" }, t("confidence"), icon("info"));
  button.setAttribute("aria-controls", explanation.id);
  const show = (/** @type {boolean} */ shown) => {
    explanation.hidden = !shown;
    button.setAttribute("aria-expanded", String(shown));
  };
  show(false);
  button.addEventListener("click", () => show(Boolean(explanation.hidden)));
  const line = element("div", { className: "verdict-line" }, element("p", { className: "verdict" }, verdict(answer)), button);
  return [line, explanation];
}

/**
 * @param {Answer} answer
 * @param {boolean} all every class of the answer instead of those that a person wants to see
 */
export function predictionList(answer, all) {
  const shown = all ? answer.predictions : view.select(answer);
  return element("ol", { className: "predictions" }, ...shown.map(row));
}

/** @param {Answer} answer */
export function hasMore(answer) {
  return answer.predictions.length > view.select(answer).length;
}

/**
 * The name of a class, marked with the language that it is in.
 * @param {Prediction} prediction
 */
export function classNameOf(prediction) {
  const name = className(prediction);
  // Names without a WordNet id are the user's own, in any language and direction.
  const spoken = name !== prediction.label ? language() : prediction.wnid ? "en" : "";
  return element("span", { className: "class-name", lang: spoken, dir: "auto" }, name);
}

/** @param {Prediction} prediction */
function row(prediction) {
  const label = classNameOf(prediction);
  if (className(prediction) !== prediction.label) {
    label.append(" ", element("span", { className: "original", lang: "en" }, prediction.label));
  }
  const fill = element("span", { className: "fill" });
  fill.style.setProperty("--share", String(prediction.probability));
  return element(
    "li",
    {},
    label,
    element("span", { className: "share" }, percent(prediction.probability)),
    element("span", { className: "bar", "aria-hidden": "true" }, fill),
  );
}
