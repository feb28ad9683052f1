// The ways by which pictures come in: chosen, dropped anywhere on the page, pasted.

import { byId } from "./dom.js";

/**
 * @typedef {object} Intake
 * @property {(files: File[]) => void} add
 * @property {(notice: "noPictureThere" | "foldersSkipped") => void} refuse nothing usable came in, for this reason
 */

/** @param {Intake} intake */
export function watchIntake(intake) {
  watchInput(intake);
  watchDrops(intake);
  watchPaste(intake);
}

/** @param {Intake} intake */
function watchInput({ add }) {
  const input = /** @type {HTMLInputElement} */ (byId("file-input"));
  byId("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...(input.files ?? [])]);
    input.value = ""; // so that the same picture can be chosen again
  });
}

/** @param {Intake} intake */
function watchDrops(intake) {
  const overlay = byId("drop-overlay");
  let depth = 0; // dragenter and dragleave come for every element on the way
  /** @param {number} to */
  const setDepth = (to) => {
    depth = Math.max(0, to);
    overlay.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => {
    if (bringsFiles(event)) setDepth(depth + 1);
  });
  addEventListener("dragleave", (event) => {
    if (bringsFiles(event)) setDepth(depth - 1);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser would leave the page for the file
    setDepth(0);
    const items = [...(event.dataTransfer?.items ?? [])];
    const files = items.filter((item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory);
    if (files.length < items.filter((item) => item.kind === "file").length) intake.refuse("foldersSkipped");
    take(files, intake);
  });
}

/** @param {Intake} intake */
function watchPaste(intake) {
  addEventListener("paste", (event) => {
    if (event.target instanceof HTMLInputElement) return;
    take([...(event.clipboardData?.items ?? [])].filter((item) => item.kind === "file"), intake);
  });
}

/**
 * @param {DataTransferItem[]} items
 * @param {Intake} intake
 */
function take(items, { add, refuse }) {
  const files = items.map((item) => item.getAsFile()).filter((file) => file !== null);
  if (files.length > 0) add(files);
  else refuse("noPictureThere");
}

/** @param {DragEvent} event */
function bringsFiles(event) {
  return event.dataTransfer?.types.includes("Files") ?? false;
}
