/** Result card of one model and one image: top label, score bars, image patches and latencies. */

import { layerAt } from "./attention-control.js";
import { element } from "./elements.js";
import { describePatches, drawPatches } from "./patches.js";
import { Timings } from "./timings.js";

/**
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Prediction} Prediction
 * @typedef {import("./api.js").Result} Result
 */

export class ResultCard {
  /** @param {Model} model @param {number} topK */
  constructor(model, topK) {
    this.model = model;
    this.label = element("p", { class: "label" });
    this.detail = element("p", { class: "detail" });
    this.caption = element("figcaption", {}, describePatches(model));
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    this.patches = /** @type {HTMLCanvasElement} */ (element("canvas", { class: "patches", "aria-hidden": "true" }));
    this.bars = Array.from({ length: topK }, () => new ScoreBar());
    this.timings = new Timings();
    this.element = element(
      "article",
      { class: "card", "aria-label": `Result of ${model.name}` },
      element("h2", { class: "model" }, model.name),
      element("div", { class: "top" }, element("div", { class: "headline" }, this.label, this.detail), this.#figure()),
      element("ol", { class: "bars" }, ...this.bars.map((bar) => bar.element)),
      this.timings.element,
    );
  }

  /** Placeholder before there is an image. */
  showEmpty() {
    this.#show("empty", "?", "The result will appear here.", null);
  }

  /** @param {Result} result @param {ImageBitmap | null} bitmap */
  showResult(result, bitmap) {
    if ("message" in result) this.#show("failed", result.title, result.message, bitmap);
    else if (!result.predictions.length) this.#show("failed", "No classes", `${this.model.name} has no classification head.`, bitmap);
    else {
      const [best] = result.predictions;
      this.#show("done", best.label, `score ${percent(best.score)}`, bitmap);
      this.bars.forEach((bar, i) => bar.show(result.predictions[i] ?? null));
      this.timings.show(result);
    }
  }

  /** Overlay an attention map on the patches. @param {Explanation | string | null} explanation  or the reason why there is none @param {number} depth  0..1 */
  showAttention(explanation, depth) {
    if (!explanation || typeof explanation === "string") {
      this.caption.textContent = explanation || describePatches(this.model);
      drawPatches(this.patches, this.bitmap, this.model);
      return;
    }
    const layer = layerAt(explanation, depth);
    const heatmap = explanation.values[layer - 1];
    this.caption.textContent = `layer ${layer} of ${explanation.values.length}: max at ${maximumOf(heatmap)}`;
    drawPatches(this.patches, this.bitmap, this.model, heatmap);
  }

  /** @param {boolean} pending */
  set pending(pending) {
    this.element.setAttribute("aria-busy", String(pending));
  }

  #figure() {
    return element("figure", {}, this.patches, this.caption);
  }

  /** @param {string} state @param {string} label @param {string} detail @param {ImageBitmap | null} bitmap */
  #show(state, label, detail, bitmap) {
    this.element.dataset.state = state;
    this.label.textContent = label;
    this.label.dataset.length = label.length <= 2 ? "short" : label.length <= 16 ? "medium" : "long";
    this.detail.textContent = detail;
    this.bars.forEach((bar) => bar.show(null));
    this.timings.show(null);
    this.bitmap = bitmap;
    this.showAttention(null, 1);
  }
}

/** @param {number[][]} heatmap */
function maximumOf(heatmap) {
  const maximum = Math.max(...heatmap.flat());
  const row = heatmap.findIndex((values) => values.includes(maximum));
  return `row ${row + 1}, column ${heatmap[row].indexOf(maximum) + 1}`;
}

/** Score bar of one class. */
class ScoreBar {
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
    this.meter.setAttribute("aria-label", prediction?.label ?? "no result yet");
    this.meter.setAttribute("aria-valuenow", (100 * score).toFixed(1));
  }
}

/** @param {number} score  0..1 */
export function percent(score) {
  if (score > 0 && score < 0.001) return "<\u00a00.1\u00a0%";
  return `${(100 * score).toFixed(score >= 0.9995 ? 0 : 1)}\u00a0%`;
}
