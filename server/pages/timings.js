/** Latency breakdown of a request: a stacked bar and its numbers. */

import { element } from "./elements.js";

/** @typedef {import("./api.js").Success} Success */

const STAGES = /** @type {const} */ (["decode", "queue", "inference", "other"]);

export class Timings {
  constructor() {
    this.total = element("span", { class: "number" });
    this.note = element("p", { class: "note" });
    this.segments = STAGES.map((stage) => element("span", { class: stage }));
    this.numbers = STAGES.map(() => element("dd", { class: "number" }));
    this.element = element(
      "div",
      { class: "timings" },
      element("h3", {}, element("span", {}, "Latency"), this.total),
      element("div", { class: "stack", "aria-hidden": "true" }, ...this.segments),
      element("dl", {}, ...STAGES.map((stage, i) => element("div", {}, element("dt", { class: stage }, stage), this.numbers[i]))),
      this.note,
    );
    this.show(null);
  }

  /** @param {Success | null} result */
  show(result) {
    const { decode = 0, queue = 0, inference = 0, total = 0 } = result?.timings ?? {};
    const values = [decode, queue, inference, Math.max(0, total - decode - queue - inference)];
    values.forEach((value, i) => {
      this.segments[i].style.flexGrow = String(value);
      this.numbers[i].textContent = result ? milliseconds(value) : "–";
    });
    this.total.textContent = result ? milliseconds(total) : "–";
    this.note.textContent = result
      ? `${milliseconds(result.roundTrip)} round trip · batch of ${result.batchSize}`
      : "\u00a0";
  }
}

/** @param {number} value */
function milliseconds(value) {
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}
