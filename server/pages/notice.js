/** A line at the foot of the window about the service as a whole; covers no space of the page. */

import { byId } from "./elements.js";

export class Notice {
  #root = byId("notice", HTMLDivElement);
  #text = /** @type {HTMLElement} */ (this.#root.querySelector("p"));
  #again = /** @type {HTMLButtonElement} */ (this.#root.querySelector("button"));

  /** @param {() => void} retry */
  constructor(retry) {
    this.#again.addEventListener("click", retry);
  }

  /** @param {string} text @param {boolean} canRetry */
  show(text, canRetry) {
    this.#text.textContent = text;
    this.#again.hidden = !canRetry;
    this.#root.hidden = false;
  }

  hide() {
    this.#root.hidden = true;
  }
}
