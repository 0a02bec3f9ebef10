/** Of many tasks, only the newest counts. */

export class Latest {
  #controller = new AbortController();
  #timer = 0;

  /**
   * Runs `task` after `delay` ms, unless another one is scheduled before. An older task that is already running gets its
   * signal aborted; it must not show anything after that.
   *
   * @param {number} delay
   * @param {(signal: AbortSignal) => void} task
   */
  schedule(delay, task) {
    this.cancel();
    const { signal } = (this.#controller = new AbortController());
    this.#timer = setTimeout(() => task(signal), delay);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}
