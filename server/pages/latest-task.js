/** Runs one task at a time; a new task cancels the previous one. */

export class LatestTask {
  #controller = new AbortController();
  #timer = 0;

  /**
   * Cancel the previous task and run `task` after `delay` ms. A running task's signal is aborted; it must not show anything
   * after that.
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
