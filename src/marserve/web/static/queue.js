// Work that waits its turn, so that fifty dropped pictures do not become fifty requests at once.

export class Queue {
  #limit;
  #running = 0;
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {number} limit how many tasks may run at the same time */
  constructor(limit) {
    this.#limit = limit;
  }

  /**
   * Run `task` when its turn comes, unless `signal` was aborted before that.
   * @param {() => Promise<void>} task
   * @param {AbortSignal} signal
   */
  async run(task, signal) {
    if (this.#running >= this.#limit) await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    this.#running += 1;
    try {
      if (!signal.aborted) await task();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}
