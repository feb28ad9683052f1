// Bring a picture's answer in sight, unless the person has looked elsewhere meanwhile.

/** Little room: what is brought in sight goes to the top. The same as in page.css. */
export const isSmall = matchMedia("(max-width: 40rem), (max-height: 30rem)");

/** @type {HTMLElement | undefined} */
let awaited;

// Whatever a person does is a reason to leave the window where it is.
for (const name of ["wheel", "touchmove", "pointerdown", "keydown"]) {
  addEventListener(name, () => (awaited = undefined), { capture: true, passive: true });
}

/** @param {HTMLElement} node shown now, and again once it is complete */
export function reveal(node) {
  awaited = node;
  scrollTo(node);
}

/** @param {HTMLElement} node that is complete now */
export function revealComplete(node) {
  if (node !== awaited) return;
  awaited = undefined;
  scrollTo(node);
}

/** @param {HTMLElement} node */
function scrollTo(node) {
  const { top, bottom, height } = node.getBoundingClientRect();
  if (top >= 0 && bottom <= innerHeight) return;
  node.scrollIntoView({ block: isSmall.matches || height > innerHeight ? "start" : "nearest" });
}
