// The answer's classes as a list of bars.

import { element, icon } from "./dom.js";
import { integer, language, percent, t } from "./i18n.js";
import { className } from "./labels.js";
import { classCounts } from "./models.js";

/** @import { Answer, Prediction } from "./api.js" */

/** How many classes are shown before anyone asks for more. */
const SHOWN_AT_FIRST = 3;

/** From which probability of the first class on the answer is called by which name. */
const VERDICTS = /** @type {const} */ ([
  [0.8, "verdictSure"],
  [0.5, "verdictLikely"],
  [0, "verdictUnsure"],
]);

/** @param {Answer} answer */
export function verdict({ weights, predictions }) {
  if (weights === "untrained") return t("verdictUntrained");
  const [first] = predictions;
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
 * @param {boolean} all every class of the answer instead of the first few
 */
export function predictionList({ predictions }, all) {
  const shown = all ? predictions : predictions.slice(0, SHOWN_AT_FIRST);
  return element("ol", { className: "predictions" }, ...shown.map(row));
}

/** @param {Answer} answer */
export function hasMore({ predictions }) {
  return predictions.length > SHOWN_AT_FIRST;
}

/** @param {Prediction} prediction */
function row(prediction) {
  const name = className(prediction);
  // Names without a WordNet id are the user's own, in any language and direction.
  const spoken = name !== prediction.label ? language() : prediction.wnid ? "en" : "";
  const label = element("span", { className: "class-name", lang: spoken, dir: "auto" }, name);
  if (name !== prediction.label) {
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
