/** Where the time of a request went: a stacked bar and its numbers. */

import { element } from "./elements.js";

/** @typedef {import("./api.js").Success} Success */

const PARTS = /** @type {const} */ (["decode", "queue", "inference", "other"]);

export class Timings {
  constructor() {
    this.total = element("span", { class: "number" });
    this.note = element("p", { class: "note" });
    this.segments = PARTS.map((part) => element("span", { class: part }));
    this.numbers = PARTS.map(() => element("dd", { class: "number" }));
    this.element = element(
      "div",
      { class: "timings" },
      element("h3", {}, element("span", {}, "Where the time went"), this.total),
      element("div", { class: "stack", "aria-hidden": "true" }, ...this.segments),
      element("dl", {}, ...PARTS.map((part, i) => element("div", {}, element("dt", { class: part }, part), this.numbers[i]))),
      this.note,
    );
    this.show(null);
  }

  /** @param {Success | null} answer */
  show(answer) {
    const { decode = 0, queue = 0, inference = 0, total = 0 } = answer?.timings ?? {};
    const values = [decode, queue, inference, Math.max(0, total - decode - queue - inference)];
    values.forEach((value, i) => {
      this.segments[i].style.flexGrow = String(value);
      this.numbers[i].textContent = answer ? milliseconds(value) : "–";
    });
    this.total.textContent = answer ? milliseconds(total) : "–";
    this.note.textContent = answer
      ? `${milliseconds(answer.roundTrip)} round trip · ${company(answer.batchSize)}`
      : "\u00a0";
  }
}

/** @param {number} value */
function milliseconds(value) {
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** @param {number} batchSize */
function company(batchSize) {
  return batchSize === 1 ? "ran alone" : `ran in a batch of ${batchSize}`;
}
