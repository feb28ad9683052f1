// Small pictures for rows that are seen, made one after the other: many large photographs at once would take all memory.

/** Twice the side of a thumbnail on the page, for fine screens. */
const SIDE = 96;
const MARGIN = "300px";

export class Thumbnails {
  /** @type {Map<Element, File>} those to be made yet */
  #files = new Map();
  /** @type {Set<Element>} those of them that are seen */
  #near = new Set();
  #busy = false;
  #observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#near.add(target);
        else this.#near.delete(target);
      }
      void this.#make();
    },
    { rootMargin: MARGIN },
  );

  /**
   * @param {HTMLCanvasElement} canvas to be drawn on when it is seen
   * @param {File} file
   */
  watch(canvas, file) {
    this.#files.set(canvas, file);
    this.#observer.observe(canvas);
  }

  /** @param {Element} canvas */
  forget(canvas) {
    this.#observer.unobserve(canvas);
    this.#near.delete(canvas);
    this.#files.delete(canvas);
  }

  async #make() {
    if (this.#busy) return;
    this.#busy = true;
    for (const canvas of this.#near) {
      const file = this.#files.get(canvas);
      this.forget(canvas);
      if (file && canvas instanceof HTMLCanvasElement) await draw(canvas, file);
    }
    this.#busy = false;
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {File} file
 */
async function draw(canvas, file) {
  try {
    const bitmap = await createImageBitmap(file, { resizeWidth: SIDE, resizeQuality: "medium" });
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    bitmap.close();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // this browser cannot read it
  }
}
