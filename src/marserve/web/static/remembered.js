// What outlives a reload: choices of this browser, and what belongs to this tab alone. Storage can be forbidden, and then
// even touching it throws: the page then forgets at the end, no more.

export class Remembered {
  #storage;
  #name;

  /**
   * @param {"browser" | "tab"} scope
   * @param {string} name
   */
  constructor(scope, name) {
    this.#storage = () => (scope === "browser" ? localStorage : sessionStorage);
    this.#name = name;
  }

  /** @returns {string | undefined} what was written last */
  read() {
    try {
      return this.#storage().getItem(this.#name) ?? undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {string} value */
  write(value) {
    try {
      this.#storage().setItem(this.#name, value);
    } catch {
      // Forbidden, or full.
    }
  }
}
