/** The answers to the picture that is looked at: one card, or one for each model side by side. */

import { AnswerCard, percent } from "./card.js";
import { byId } from "./elements.js";

/**
 * @typedef {import("./api.js").Answer} Answer
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Model} Model
 */

const MOST_BARS = 5;
/** A card dims only when its answer lets itself be waited for, so that quick answers do not flicker; in ms. */
const PATIENCE = 300;

export class Results {
  /** @type {AnswerCard[]} */
  #cards = [];
  #timer = 0;
  #panel = byId("answers", HTMLDivElement);
  #spoken = byId("spoken", HTMLParagraphElement);

  /** @param {Model[]} models */
  setModels(models) {
    const bars = (/** @type {Model} */ { labels }) => Math.max(1, Math.min(MOST_BARS, labels?.length ?? MOST_BARS));
    this.#cards = models.map((model) => new AnswerCard(model, bars(model)));
    this.#panel.replaceChildren(...this.#cards.map((card) => card.element));
    this.#panel.dataset.count = String(models.length);
    this.showEmpty();
  }

  showEmpty() {
    this.#settle();
    this.#spoken.textContent = "";
    for (const card of this.#cards) card.showEmpty();
  }

  showPending() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#cards.forEach((card) => (card.pending = true)), PATIENCE);
  }

  /** @param {Map<string, Answer>} answers  by the model's name @param {ImageBitmap | null} image */
  show(answers, image) {
    this.#settle();
    for (const card of this.#cards) {
      const answer = answers.get(card.model.name);
      if (answer) card.showAnswer(answer, image);
    }
    this.#spoken.textContent = [...answers].map(([model, answer]) => `${model}: ${inWords(answer)}`).join("; ");
  }

  /** @param {Map<string, Explanation | string>} explanations  by the model's name @param {number} depth  0..1 */
  showAttention(explanations, depth) {
    for (const card of this.#cards) card.showAttention(explanations.get(card.model.name) ?? null, depth);
  }

  #settle() {
    clearTimeout(this.#timer);
    for (const card of this.#cards) card.pending = false;
  }
}

/** @param {Answer} answer */
export function inWords(answer) {
  if ("message" in answer) return answer.title;
  const [best] = answer.predictions;
  return best ? `${best.label}, ${percent(best.score)}` : "no classes";
}
