/** One model's answer for one picture: the likeliest label, bars for the next, its tiles and its times. */

import { layerAt } from "./attention.js";
import { element } from "./elements.js";
import { describeTiles, drawTiles } from "./tiles.js";
import { Timings } from "./timings.js";

/**
 * @typedef {import("./api.js").Answer} Answer
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Prediction} Prediction
 */

export class AnswerCard {
  /** @param {Model} model @param {number} topK */
  constructor(model, topK) {
    this.model = model;
    this.label = element("p", { class: "label" });
    this.detail = element("p", { class: "detail" });
    this.caption = element("figcaption", {}, describeTiles(model));
    /** @type {ImageBitmap | null} */
    this.image = null;
    this.tiles = /** @type {HTMLCanvasElement} */ (element("canvas", { class: "tiles", "aria-hidden": "true" }));
    this.bars = Array.from({ length: topK }, () => new Bar());
    this.timings = new Timings();
    this.element = element(
      "article",
      { class: "card", "aria-label": `Answer of ${model.name}` },
      element("h2", { class: "model" }, model.name),
      element("div", { class: "top" }, element("div", { class: "verdict" }, this.label, this.detail), this.#figure()),
      element("ol", { class: "bars" }, ...this.bars.map((bar) => bar.element)),
      this.timings.element,
    );
  }

  /** Nothing to answer yet. */
  showEmpty() {
    this.#show("empty", "?", "Draw something, and the answer appears here.", null);
  }

  /** @param {Answer} answer @param {ImageBitmap | null} image */
  showAnswer(answer, image) {
    if ("message" in answer) this.#show("failed", answer.title, answer.message, image);
    else if (!answer.predictions.length) this.#show("failed", "No classes", `${this.model.name} has no head.`, image);
    else {
      const [best] = answer.predictions;
      this.#show("answered", best.label, `${percent(best.score)} sure`, image);
      this.bars.forEach((bar, i) => bar.show(answer.predictions[i] ?? null));
      this.timings.show(answer);
    }
  }

  /** What the network looked at, over its tiles. @param {Explanation | string | null} explanation  or why there is none @param {number} depth  0..1 */
  showAttention(explanation, depth) {
    if (!explanation || typeof explanation === "string") {
      this.caption.textContent = explanation || describeTiles(this.model);
      drawTiles(this.tiles, this.image, this.model);
      return;
    }
    const layer = layerAt(explanation, depth);
    const heat = explanation.values[layer - 1];
    this.caption.textContent = `layer ${layer} of ${explanation.values.length}: most at ${hottest(heat)}`;
    drawTiles(this.tiles, this.image, this.model, heat);
  }

  /** @param {boolean} pending */
  set pending(pending) {
    this.element.setAttribute("aria-busy", String(pending));
  }

  #figure() {
    return element("figure", {}, this.tiles, this.caption);
  }

  /** @param {string} state @param {string} label @param {string} detail @param {ImageBitmap | null} image */
  #show(state, label, detail, image) {
    this.element.dataset.state = state;
    this.label.textContent = label;
    this.label.dataset.length = label.length <= 2 ? "short" : label.length <= 16 ? "medium" : "long";
    this.detail.textContent = detail;
    this.bars.forEach((bar) => bar.show(null));
    this.timings.show(null);
    this.image = image;
    this.showAttention(null, 1);
  }
}

/** @param {number[][]} heat */
function hottest(heat) {
  const most = Math.max(...heat.flat());
  const row = heat.findIndex((values) => values.includes(most));
  return `row ${row + 1}, column ${heat[row].indexOf(most) + 1}`;
}

/** A class and its share. */
class Bar {
  constructor() {
    this.label = element("span", { class: "name" });
    this.fill = element("span", { class: "fill" });
    this.meter = element("span", { class: "meter", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" }, this.fill);
    this.number = element("span", { class: "number" });
    this.element = element("li", {}, this.label, this.meter, this.number);
  }

  /** @param {Prediction | null} prediction */
  show(prediction) {
    const score = prediction?.score ?? 0;
    this.label.textContent = this.label.title = prediction?.label ?? "–";
    this.number.textContent = prediction ? percent(score) : "–";
    this.fill.style.transform = `scaleX(${score})`;
    this.meter.setAttribute("aria-label", prediction?.label ?? "no answer yet");
    this.meter.setAttribute("aria-valuenow", (100 * score).toFixed(1));
  }
}

/** @param {number} score 0..1 */
export function percent(score) {
  if (score > 0 && score < 0.001) return "<\u00a00.1\u00a0%";
  return `${(100 * score).toFixed(score >= 0.9995 ? 0 : 1)}\u00a0%`;
}
