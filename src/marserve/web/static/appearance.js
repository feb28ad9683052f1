// Light or dark: as the system is, unless a person chooses, which theme.js reads before the page is painted.

import { byId, icon } from "./dom.js";
import { onLanguageChange, t } from "./i18n.js";

/** @typedef {"system" | "light" | "dark"} Theme */

const STORAGE_KEY = "theme";

/** @type {Record<Theme, string>} */
const ICONS = { system: "system", light: "sun", dark: "moon" };

/** What browsers color their own bars with, as index.html has it for each theme. */
const BARS = [...document.querySelectorAll('meta[name="theme-color"]')].map((meta) => ({
  meta,
  own: meta.getAttribute("content") ?? "",
  theme: meta.getAttribute("media")?.includes("dark") ? "dark" : "light",
}));

const { dataset } = document.documentElement;

/** @returns {Theme} */
function current() {
  return dataset.theme === "light" || dataset.theme === "dark" ? dataset.theme : "system";
}

/** @returns {Theme} the other side of what is seen now, then the side that the system has, then the system again */
function next() {
  const [system, other] = /** @type {Theme[]} */ (
    matchMedia("(prefers-color-scheme: dark)").matches ? ["dark", "light"] : ["light", "dark"]
  );
  return /** @type {Record<Theme, Theme>} */ ({ system: other, [other]: system, [system]: "system" })[current()];
}

/** @param {Theme} theme */
function choose(theme) {
  if (theme === "system") delete dataset.theme;
  else dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(STORAGE_KEY);
    else localStorage.setItem(STORAGE_KEY, theme);
  } catch {
    // As in theme.js: the choice then lasts as long as the page.
  }
}

function show() {
  const theme = current();
  const button = byId("theme");
  button.replaceChildren(icon(ICONS[theme]));
  button.title = t(`theme.${theme}`);
  button.setAttribute("aria-label", button.title);
  const chosen = BARS.find((bar) => bar.theme === theme);
  for (const { meta, own } of BARS) meta.setAttribute("content", chosen?.own ?? own);
}

byId("theme").addEventListener("click", () => {
  choose(next());
  show();
});
onLanguageChange(show);
show();
