/** Several pictures at once: a thumbnail for each, with its own answer or its own error. */

import { byId, element } from "./elements.js";
import { inWords } from "./results.js";

/**
 * @typedef {import("./api.js").Answer} Answer
 * @typedef {import("./api.js").Picture} Picture
 */

/** Fires `select` (detail: index) when a thumbnail is chosen. */
export class Gallery extends EventTarget {
  #root = byId("gallery", HTMLElement);
  /** @type {HTMLElement[]} */
  #buttons = [];
  /** @type {string[]} */
  #urls = [];

  /** @param {Picture[]} pictures */
  setPictures(pictures) {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = pictures.map(({ blob }) => URL.createObjectURL(blob));
    this.#buttons = pictures.map((picture, index) => this.#button(picture, index));
    const items = this.#buttons.map((button) => element("li", {}, button));
    this.#root.replaceChildren(element("h2", {}, `${pictures.length} images`), element("ul", {}, ...items));
    this.#root.hidden = pictures.length < 2;
  }

  /** @param {number} selected */
  select(selected) {
    this.#buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === selected)));
  }

  /** @param {number} index @param {Map<string, Answer>} answers  by the model's name */
  show(index, answers) {
    const lines = [...answers].map(([model, answer]) =>
      element(
        "span",
        { class: "message" in answer ? "failed" : "answered" },
        answers.size > 1 ? `${model}: ${inWords(answer)}` : inWords(answer),
      ),
    );
    this.#buttons[index].querySelector(".answer")?.replaceChildren(...lines);
  }

  /** @param {Picture} picture @param {number} index */
  #button({ name }, index) {
    const image = element("img", { src: this.#urls[index], alt: "" });
    image.addEventListener("error", () => image.remove());
    const waiting = element("span", {}, "…");
    const button = element(
      "button",
      { type: "button", "aria-pressed": "false" },
      element("span", { class: "thumb" }, image),
      element("span", { class: "file", title: name }, name),
      element("span", { class: "answer" }, waiting),
    );
    button.addEventListener("click", () => this.dispatchEvent(new CustomEvent("select", { detail: index })));
    return button;
  }
}
