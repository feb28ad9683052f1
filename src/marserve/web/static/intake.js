// The ways by which pictures come in: chosen, dropped anywhere on the page, pasted.

import { byId } from "./dom.js";

/**
 * @typedef {object} Intake
 * @property {(files: File[]) => void} add
 * @property {(url: string) => void} addAddress a picture elsewhere
 * @property {(notice: "noPictureThere" | "textThere" | "foldersSkipped") => void} refuse nothing usable came in, for this
 *   reason
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
    if (bringsPicture(event)) setDepth(depth + 1);
  });
  addEventListener("dragleave", (event) => {
    if (bringsPicture(event)) setDepth(depth - 1);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser would leave the page for the file
    setDepth(0);
    const items = [...(event.dataTransfer?.items ?? [])];
    const files = items.filter((item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory);
    const isFolder = files.length < items.filter((item) => item.kind === "file").length;
    if (isFolder) intake.refuse("foldersSkipped");
    if (files.length > 0 || !isFolder) take(files, event.dataTransfer, intake);
  });
}

/** @param {Intake} intake */
function watchPaste(intake) {
  addEventListener("paste", (event) => {
    if (event.target instanceof HTMLInputElement) return;
    const items = [...(event.clipboardData?.items ?? [])];
    take(items.filter((item) => item.kind === "file"), event.clipboardData, intake);
  });
}

/**
 * @param {DataTransferItem[]} items those that are files
 * @param {DataTransfer | null} all
 * @param {Intake} intake
 */
function take(items, all, { add, addAddress, refuse }) {
  const files = items.map((item) => item.getAsFile()).filter((file) => file !== null);
  const text = all?.getData("text/plain") ?? "";
  const address = addressIn(all?.getData("text/html") ?? "", all?.getData("text/uri-list") || text);
  if (files.length > 0) add(files);
  else if (address?.protocol === "data:") add([inlinePicture(address.href)]);
  else if (address) addAddress(address.href);
  else refuse(text ? "textThere" : "noPictureThere");
}

/**
 * Where the picture is that was dragged or copied on another page; of one inside a link, the link would lead elsewhere.
 * @param {string} html
 * @param {string} text
 */
function addressIn(html, text) {
  const source = new DOMParser().parseFromString(html, "text/html").querySelector("img")?.getAttribute("src");
  for (const candidate of [source ?? "", text.split(/\r?\n/).find((line) => !line.startsWith("#")) ?? ""]) {
    const written = candidate.trim();
    if (!/^(https?:\/\/|data:image\/[\w.+-]+;base64,)\S+$/i.test(written)) continue;
    try {
      return new URL(written);
    } catch {
      // Text that only begins like an address.
    }
  }
  return undefined;
}

/**
 * @param {string} address a data URL with base64; a picture search has its small pictures as such
 * @returns {File}
 */
function inlinePicture(address) {
  const [head, base64] = address.split(",", 2);
  const type = head.slice("data:".length, head.indexOf(";"));
  try {
    const bytes = Uint8Array.from(atob(decodeURIComponent(base64)), (character) => character.charCodeAt(0));
    return new File([bytes], `picture.${type.split("/")[1]}`, { type });
  } catch {
    return new File([], "picture", { type }); // of which the service says that it is empty
  }
}

/** @param {DragEvent} event */
function bringsPicture(event) {
  const types = event.dataTransfer?.types ?? [];
  return types.includes("Files") || types.includes("text/uri-list");
}
