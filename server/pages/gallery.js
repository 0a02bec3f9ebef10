/** Thumbnails of several images, each with its own result or error. */

import { byId, element } from "./elements.js";
import { summaryOf } from "./results.js";

/**
 * @typedef {import("./api.js").InputImage} InputImage
 * @typedef {import("./api.js").Result} Result
 */

/** Fires `select` (detail: index) when a thumbnail is clicked. */
export class Gallery extends EventTarget {
  #root = byId("gallery", HTMLElement);
  /** @type {HTMLElement[]} */
  #buttons = [];
  /** @type {string[]} */
  #urls = [];

  /** @param {InputImage[]} images */
  setImages(images) {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = images.map(({ blob }) => URL.createObjectURL(blob));
    this.#buttons = images.map((image, index) => this.#button(image, index));
    const items = this.#buttons.map((button) => element("li", {}, button));
    this.#root.replaceChildren(element("h2", {}, `${images.length} images`), element("ul", {}, ...items));
    this.#root.hidden = images.length < 2;
  }

  /** @param {number} selected */
  select(selected) {
    this.#buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === selected)));
  }

  /** @param {number} index @param {Map<string, Result>} results  by model name */
  show(index, results) {
    const lines = [...results].map(([model, result]) =>
      element(
        "span",
        { class: "message" in result ? "failed" : "done" },
        results.size > 1 ? `${model}: ${summaryOf(result)}` : summaryOf(result),
      ),
    );
    this.#buttons[index].querySelector(".result")?.replaceChildren(...lines);
  }

  /** @param {InputImage} image @param {number} index */
  #button({ name }, index) {
    const thumbnail = element("img", { src: this.#urls[index], alt: "" });
    thumbnail.addEventListener("error", () => thumbnail.remove());
    const waiting = element("span", {}, "…");
    const button = element(
      "button",
      { type: "button", "aria-pressed": "false" },
      element("span", { class: "thumb" }, thumbnail),
      element("span", { class: "file", title: name }, name),
      element("span", { class: "result" }, waiting),
    );
    button.addEventListener("click", () => this.dispatchEvent(new CustomEvent("select", { detail: index })));
    return button;
  }
}
