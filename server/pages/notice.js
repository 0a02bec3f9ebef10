/** Notice about the state of the service, at the bottom of the window, with a retry button. */

import { byId } from "./elements.js";

export class Notice {
  #root = byId("notice", HTMLDivElement);
  #text = /** @type {HTMLElement} */ (this.#root.querySelector("p"));
  #retryButton = /** @type {HTMLButtonElement} */ (this.#root.querySelector("button"));

  /** @param {() => void} retry */
  constructor(retry) {
    this.#retryButton.addEventListener("click", retry);
  }

  /** @param {string} text @param {boolean} canRetry */
  show(text, canRetry) {
    this.#text.textContent = text;
    this.#retryButton.hidden = !canRetry;
    this.#root.hidden = false;
  }

  hide() {
    this.#root.hidden = true;
  }
}
