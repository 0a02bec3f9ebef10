/** Results of the selected image: a card for each selected model. */

import { ResultCard, percent } from "./result-card.js";
import { byId } from "./elements.js";

/**
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Result} Result
 */

const MAX_BARS = 5;
/** Delay in ms until cards are dimmed while a request is pending, so that fast results do not flicker. */
const PENDING_DELAY = 300;

export class Results {
  /** @type {ResultCard[]} */
  #cards = [];
  #timer = 0;
  #panel = byId("results", HTMLDivElement);
  #announcement = byId("announcement", HTMLParagraphElement);

  /** @param {Model[]} models */
  setModels(models) {
    const bars = (/** @type {Model} */ { labels }) => Math.max(1, Math.min(MAX_BARS, labels?.length ?? MAX_BARS));
    this.#cards = models.map((model) => new ResultCard(model, bars(model)));
    this.#panel.replaceChildren(...this.#cards.map((card) => card.element));
    this.#panel.dataset.count = String(models.length);
    this.showEmpty();
  }

  showEmpty() {
    this.#stopPending();
    this.#announcement.textContent = "";
    for (const card of this.#cards) card.showEmpty();
  }

  showPending() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#cards.forEach((card) => (card.pending = true)), PENDING_DELAY);
  }

  /** @param {Map<string, Result>} results  by model name @param {ImageBitmap | null} bitmap */
  show(results, bitmap) {
    this.#stopPending();
    for (const card of this.#cards) {
      const result = results.get(card.model.name);
      if (result) card.showResult(result, bitmap);
    }
    this.#announcement.textContent = [...results].map(([model, result]) => `${model}: ${summaryOf(result)}`).join("; ");
  }

  /** @param {Map<string, Explanation | string>} explanations  by model name @param {number} depth  0..1 */
  showAttention(explanations, depth) {
    for (const card of this.#cards) card.showAttention(explanations.get(card.model.name) ?? null, depth);
  }

  #stopPending() {
    clearTimeout(this.#timer);
    for (const card of this.#cards) card.pending = false;
  }
}

/** One line for a result: its top label and score, or its error. @param {Result} result */
export function summaryOf(result) {
  if ("message" in result) return result.title;
  const [best] = result.predictions;
  return best ? `${best.label}, ${percent(best.score)}` : "no classes";
}
