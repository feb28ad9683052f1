// The page: takes pictures in, asks the service about each, a few at a time, and shows the answers.

import { classify, examplePicture, ServiceError } from "./api.js";
import { watchCamera } from "./camera.js";
import { Card } from "./cards.js";
import { byId, element } from "./dom.js";
import { errorText } from "./errors.js";
import { language, onLanguageChange, percent, setLanguage, t, translatePage } from "./i18n.js";
import { watchIntake } from "./intake.js";
import { askForKey, watchKey } from "./key.js";
import { className, loadLabels } from "./labels.js";
import { Models } from "./models.js";
import { showProgramHint } from "./program.js";
import { Queue } from "./queue.js";
import { shrinkToFit } from "./shrink.js";

/** Enough to keep the service's batches filled, few enough to leave it to others too. */
const MAX_REQUESTS_IN_FLIGHT = 3;
/** More pictures at once than this would fill the memory of a phone. */
const MAX_PICTURES_AT_ONCE = 50;
/** Asked for once, so that "show more" needs no second request. */
const TOP_K = 10;
/** What a screen reader may still be reading out. */
const MAX_ANNOUNCEMENTS = 10;

const queue = new Queue(MAX_REQUESTS_IN_FLIGHT);
/** @type {Set<Card>} */
const cards = new Set();
const models = new Models(() => cards.forEach(start));

/** @param {File[]} files */
function add(files) {
  const taken = files.slice(0, MAX_PICTURES_AT_ONCE);
  notify(taken.length < files.length ? t("tooManyPictures", { taken: taken.length, given: files.length }) : "");
  const added = taken.map((file) => new Card(file, { retry: start, remove }));
  byId("cards").prepend(...added.map((card) => card.element));
  for (const card of added) {
    cards.add(card);
    start(card);
  }
  added[0]?.element.scrollIntoView({ block: "nearest" });
}

/** @param {Card} card */
function start(card) {
  const hadFocus = card.element.contains(document.activeElement);
  const signal = card.restart();
  if (hadFocus) card.element.focus(); // its retry button is gone
  showOverview();
  void queue.run(() => answer(card, signal), signal);
}

/**
 * @param {Card} card
 * @param {AbortSignal} signal
 */
async function answer(card, signal) {
  card.show({ phase: "working" });
  const labels = loadLabels();
  try {
    card.upload = await shrinkToFit(card.upload, models.maxImageBytes);
    if (card.upload !== card.file) card.shrunkFor = models.maxImageBytes;
    const answer = await classify(card.upload, { model: models.chosen, topK: TOP_K, signal });
    await labels;
    if (signal.aborted) return;
    card.show({ phase: "done", answer });
    models.noteAnswer(answer);
    const [first] = answer.predictions;
    announce("announceAnswer", card, { label: className(first), percent: percent(first.probability) });
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ServiceError)) throw error;
    card.show({ phase: "failed", error });
    if (error.kind === "keyNeeded") askForKey();
    announce("announceFailure", card, { reason: errorText(error, card.file) });
  }
  showOverview();
  await models.load();
}

/** With a key at last, ask again where the service had asked for one. */
function retryRefused() {
  for (const card of cards) {
    if (card.state.phase === "failed" && card.state.error.kind === "keyNeeded") start(card);
  }
}

/** @param {Card} card */
function remove(card) {
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  cards.delete(card);
  card.dispose();
  showOverview();
  if (next instanceof HTMLElement) next.focus();
  else byId("choose").focus();
}

function clear() {
  for (const card of cards) card.dispose();
  cards.clear();
  notify("");
  showOverview();
  byId("choose").focus();
}

function showOverview() {
  const total = cards.size;
  const done = [...cards].filter(({ state }) => state.phase === "done" || state.phase === "failed").length;
  document.body.classList.toggle("has-results", total > 0);
  byId("results").hidden = total === 0;
  byId("overview").textContent = t(done < total ? "toGo" : "allDone", { done, total });
  const progress = /** @type {HTMLProgressElement} */ (byId("progress"));
  progress.hidden = done === total;
  progress.max = total;
  progress.value = done;
}

/** @param {string} text about what was dropped, pasted or chosen; nothing hides it */
function notify(text) {
  byId("notice").textContent = text;
}

/**
 * Tell screen readers what became of a picture.
 * @param {string} key
 * @param {Card} card
 * @param {Record<string, string>} values
 */
function announce(key, card, values) {
  const log = byId("announcements");
  log.append(element("p", {}, t(key, { name: card.file.name, ...values })));
  if (log.childElementCount > MAX_ANNOUNCEMENTS) log.firstElementChild?.remove();
}

async function addExample() {
  try {
    add([await examplePicture()]);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    notify(errorText(error));
  }
}

function showLanguage() {
  translatePage();
  byId("paste-hint").textContent = t("pasteHint", { keys: /Mac/.test(navigator.userAgent) ? "⌘V" : "Ctrl+V" });
  models.update();
  showOverview();
  notify("");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.getAttribute("data-language") === language()));
  }
  for (const card of cards) card.update();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => setLanguage(button.getAttribute("data-language") === "zh" ? "zh" : "en"));
}
onLanguageChange(async () => {
  showLanguage();
  await loadLabels();
  for (const card of cards) card.update();
});
byId("example").addEventListener("click", addExample);
byId("clear").addEventListener("click", clear);
watchIntake({ add, refuse: (notice) => notify(t(notice)) });
watchKey(retryRefused);
watchCamera((photo) => add([photo]));
showProgramHint();
showLanguage();
void loadLabels();
await models.load();
