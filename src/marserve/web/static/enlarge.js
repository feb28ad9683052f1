// A picture as large as the window allows, in a dialog. Very long ones fill it with their short side, and are scrolled.

import { byId } from "./dom.js";

/** The longer side to the shorter one. */
const LONG = 2.5;

const dialog = /** @type {HTMLDialogElement} */ (byId("enlarged"));
const image = /** @type {HTMLImageElement} */ (byId("enlarged-picture"));

/**
 * @param {Blob} file
 * @param {string} name
 * @param {string} text what the picture is for those who do not see it
 */
export function enlarge(file, name, text) {
  image.src = URL.createObjectURL(file);
  image.alt = text;
  byId("enlarged-name").textContent = name;
  dialog.showModal();
}

image.addEventListener("load", () => {
  const ratio = image.naturalWidth / image.naturalHeight;
  image.classList.toggle("wide", ratio > LONG);
  image.classList.toggle("tall", ratio < 1 / LONG);
});
dialog.addEventListener("close", () => {
  URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside the picture
});
byId("enlarged-close").addEventListener("click", () => dialog.close());
