// Copying, and saying so for a moment.

import { element } from "./dom.js";

const SAID_FOR_MS = 2000;

/**
 * @param {string} text
 * @param {(copied: boolean) => void} say called with true once it is copied, and with false when that has been read
 */
export async function copyText(text, say) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyByHand(text);
  say(true);
  setTimeout(() => say(false), SAID_FOR_MS);
}

/**
 * Browsers have no clipboard on an address that is neither local nor https; this old way still works there.
 * @param {string} text
 */
function copyByHand(text) {
  const area = element("textarea", { value: text, className: "for-screen-readers", readOnly: true });
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
}
