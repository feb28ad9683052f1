// The key of a service that asks for one, kept until the tab is closed.

import { byId } from "./dom.js";
import { Remembered } from "./remembered.js";

const remembered = new Remembered("tab", "api-key");

let key = remembered.read() ?? "";

/** @returns {Record<string, string>} what a request carries */
export function keyHeader() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Show the form for the key. */
export function askForKey() {
  byId("key-form").hidden = false;
}

/** @param {() => void} onKey called after each new key */
export function watchKey(onKey) {
  const input = /** @type {HTMLInputElement} */ (byId("key"));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key = input.value.trim();
    input.value = "";
    byId("key-form").hidden = true;
    remembered.write(key);
    onKey();
  });
}
