// The page: takes pictures in, has the service asked about them, and shows the answers.

import { fetchPicture, ServiceError } from "./api.js";
import { Asking } from "./asking.js";
import { watchCamera } from "./camera.js";
import { byId, element } from "./dom.js";
import { errorText } from "./errors.js";
import { Examples } from "./examples.js";
import { language, onLanguageChange, percent, setLanguage, t, translatePage } from "./i18n.js";
import { watchIntake } from "./intake.js";
import { Kept } from "./kept.js";
import { askForKey, watchKey } from "./key.js";
import { className, loadLabels } from "./labels.js";
import { Models } from "./models.js";
import { Picture, Pictures } from "./pictures.js";
import { verdict } from "./predictions.js";
import { Program } from "./program.js";
import { Remembered } from "./remembered.js";
import { Results } from "./results.js";
import { isSmall, reveal, revealComplete } from "./reveal.js";
import { view } from "./view.js";

/** @import { Crop } from "./api.js" */
/** @import { Question } from "./pictures.js" */

/** More than a person looks through, and than a browser shows with ease. */
const MAX_PICTURES = 500;
/** What a screen reader may still be reading out. */
const MAX_ANNOUNCEMENTS = 10;

const pictures = new Pictures();
const kept = new Kept();
const models = new Models(
  () => startAll([...pictures].filter(({ outcome }) => outcome !== "ready")),
  () => program.update(),
  compareAll,
);
const program = new Program(models);
const asking = new Asking(models, ended);
const results = new Results(pictures, asking.patience, {
  start,
  remove,
  startSecond: (picture) => void asking.start(picture, picture.second),
  crop,
  reported: (picture) => void kept.update(picture),
  startReady: () => startAll(pictures.with("ready")),
  retryFailed,
  clear,
});
const autoStart = /** @type {HTMLInputElement} */ (byId("auto-start"));
const autoStartChoice = new Remembered("browser", "auto-start");
const examples = new Examples(
  (file) => {
    const [picture] = add([file]);
    if (!picture) return;
    if (!autoStart.checked) start(picture); // it is the one click that asks, and the picture is nobody's secret
    results.elementOf(picture).focus({ preventScroll: true });
  },
  (error) => notify(errorText(error)),
);

/** @param {File[]} files */
function add(files) {
  const taken = files.slice(0, Math.max(0, MAX_PICTURES - pictures.size));
  notify(taken.length < files.length ? t("tooManyPictures", { taken: taken.length, given: files.length }) : "");
  const now = Date.now();
  const added = taken.map((file, index) => new Picture(file, { at: now - index / 1000 }));
  pictures.add(added);
  void kept.add(added);
  if (autoStart.checked) startAll(added);
  const first = added[0] && results.elementOf(added[0]);
  if (first) reveal(first);
  // The button that had the focus may be gone with the first results.
  if (!document.activeElement?.checkVisibility()) first?.focus({ preventScroll: true });
  return added;
}

/** @param {Picture} picture */
function start(picture) {
  void loadLabels();
  void asking.start(picture);
  void kept.update(picture); // without the answer that it had, perhaps of another model
}

/**
 * @param {Picture} picture
 * @param {Crop | undefined} part
 */
function crop(picture, part) {
  const isReady = picture.outcome === "ready";
  picture.cropTo(part);
  if (isReady) picture.state = { phase: "ready" };
  if (isReady) void kept.update(picture);
  else start(picture);
}

/** @param {Picture[]} chosen in the order in which they are shown */
function startAll(chosen) {
  for (const picture of chosen) start(picture);
}

function retryFailed() {
  startAll(pictures.with("failed"));
  for (const picture of pictures) if (picture.second.outcome === "failed") void asking.start(picture, picture.second);
}

/** Ask the second model, where there is one, about each picture that it has not answered. */
function compareAll() {
  for (const picture of pictures.with("done")) compare(picture);
}

/** @param {Picture} picture that the first model has answered */
function compare(picture) {
  const { state } = picture.second;
  if (state.phase === "done" && state.answer.model === models.compared) return;
  if (models.compared) void asking.start(picture, picture.second);
  else picture.second.withdraw();
  void kept.update(picture); // without the answer of another model
}

/**
 * @param {Picture} picture
 * @param {Question} question about it, which is done or has failed
 */
async function ended(picture, question) {
  const { name, file } = picture;
  const { state } = question;
  void kept.update(picture);
  if (question === picture.second) {
    if (state.phase === "done" && state.answer.weights !== "untrained") {
      const [first] = state.answer.predictions;
      const values = { name, model: state.answer.model, label: className(first), percent: percent(first.probability) };
      announce("announceSecond", values);
    }
    return;
  }
  if (state.phase === "done") compare(picture);
  revealComplete(results.elementOf(picture));
  if (state.phase === "failed") {
    if (state.error.kind === "keyNeeded") askForKey();
    announce("announceFailure", { name, reason: errorText(state.error, file) });
  } else if (state.phase === "done") {
    models.noteAnswer(state.answer);
    const [first] = view.select(state.answer);
    if (!first) announce("announceFailure", { name, reason: verdict(state.answer) });
    else {
      const key = state.answer.weights === "untrained" ? "announceUntrained" : "announceAnswer";
      announce(key, { name, label: className(first), percent: percent(first.probability) });
    }
  }
  await models.load();
}

/** With a key at last, ask again where the service had asked for one. */
function retryRefused() {
  program.update();
  startAll(pictures.with("failed").filter(({ state }) => state.phase === "failed" && state.error.kind === "keyNeeded"));
}

/** @param {Picture} picture */
function remove(picture) {
  const next = results.neighborOf(picture);
  pictures.remove(picture);
  void kept.remove(picture);
  (next ?? byId("choose")).focus();
}

function clear() {
  pictures.clear();
  void kept.clear();
  notify("");
  byId("choose").focus();
}

/** @param {string} text about what was dropped, pasted or chosen; nothing hides it */
function notify(text) {
  byId("notice").textContent = text;
}

/**
 * Tell screen readers what became of a picture.
 * @param {string} key
 * @param {Record<string, string>} values
 */
function announce(key, values) {
  const log = byId("announcements");
  log.append(element("p", {}, t(key, values)));
  if (log.childElementCount > MAX_ANNOUNCEMENTS) log.firstElementChild?.remove();
}

/** @param {string} url of a picture elsewhere */
async function addAddress(url) {
  if (!models.fetchesUrls) {
    notify(t("addressesOff"));
    return;
  }
  notify(t("fetching"));
  try {
    add([await fetchPicture(url)]);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (error.kind === "keyNeeded") askForKey();
    notify(errorText(error));
  }
}

function showLanguage() {
  translatePage();
  byId("paste-hint").textContent = t("pasteHint", { keys: /Mac/.test(navigator.userAgent) ? "⌘V" : "Ctrl+V" });
  models.update();
  examples.update();
  view.update();
  results.update();
  notify("");
  byId("announcements").replaceChildren(); // in the language before
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("data-language") === language()));
  }
}

/** What this tab had before it was loaded again, with what had not been answered yet. */
async function restore() {
  const records = await kept.restore();
  const added = new Set([...pictures].map(({ id }) => id)); // meanwhile, and kept already
  const restored = records.filter(({ id }) => !added.has(id)).map((record) => Picture.from(record));
  pictures.add(restored);
  startAll(restored.filter(({ outcome }) => outcome === "waiting"));
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => setLanguage(button.getAttribute("data-language") === "zh" ? "zh" : "en"));
}
onLanguageChange(async () => {
  showLanguage();
  await loadLabels();
  results.update();
});
autoStart.checked = autoStartChoice.read() !== "no";
autoStart.addEventListener("change", () => {
  autoStartChoice.write(autoStart.checked ? "yes" : "no");
  if (autoStart.checked) startAll(pictures.with("ready"));
});
// Leaving the page loses what is not kept yet and, where nothing can be kept, what is under way.
addEventListener("beforeunload", (event) => {
  if (kept.adding > 0 || (!kept.complete && pictures.with("waiting", "working").length > 0)) event.preventDefault();
});
watchIntake({ add, addAddress, refuse: (notice) => notify(t(notice)) });
watchKey(retryRefused);
watchCamera(
  (photo) => add([photo]),
  () => models.chosen,
);
if (isSmall.matches) byId("banner").removeAttribute("open");
showLanguage();
void examples.load();
await loadLabels();
await Promise.all([models.load(), restore()]);
results.update(); // what a model sees is known now
compareAll();
