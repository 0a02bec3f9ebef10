/** What a network looked at: which kind is shown, of which layer; asked for only where the service can tell. */

import { address, ApiError, classify, request } from "./api.js";
import { byId } from "./elements.js";

/**
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Picture} Picture
 */

/** Fires `change` when another kind is wanted, `layer` when another layer is. */
export class Attention extends EventTarget {
  #root = byId("attention", HTMLDivElement);
  #method = byId("method", HTMLSelectElement);
  #layer = byId("layer", HTMLInputElement);
  #output = byId("layer-text", HTMLOutputElement);
  #known = false;
  /** Of each model by its name; a text says why there is none. @type {Map<string, Explanation | string>} */
  explanations = new Map();

  constructor() {
    super();
    this.#method.addEventListener("change", () => {
      this.#layer.disabled = !this.method;
      this.dispatchEvent(new Event("change"));
    });
    this.#layer.addEventListener("input", () => {
      this.#show();
      this.dispatchEvent(new Event("layer"));
    });
  }

  /** "" for none. @returns {"" | "attention" | "rollout"} */
  get method() {
    return /** @type {"" | "attention" | "rollout"} */ (this.#root.hidden ? "" : this.#method.value);
  }

  /** Of 1, the last. */
  get depth() {
    return Number(this.#layer.value) / Number(this.#layer.max);
  }

  /** Appears where the service's own description has it. */
  async offer() {
    if (this.#known) return;
    const { paths } = await (await request(address("openapi.json"))).json();
    this.#known = true;
    /** @type {{name: string}[]} */
    const parameters = paths["/classify"]?.post?.parameters ?? [];
    this.#root.hidden = !parameters.some(({ name }) => name === "explain");
  }

  /**
   * Asks each model; without a picture, or where nothing is to be shown, there is nothing to know.
   *
   * @param {Model[]} models @param {Picture | undefined} picture @param {AbortSignal} signal
   */
  async explain(models, picture, signal) {
    this.explanations = new Map();
    if (!this.method || !picture) return;
    for (const { name } of models) this.explanations.set(name, await this.#ask(name, picture, signal));
    const depths = [...this.explanations.values()].map((one) => (typeof one === "string" ? 0 : one.values.length));
    this.#setLayers(Math.max(0, ...depths));
  }

  /** @param {string} model @param {Picture} picture @param {AbortSignal} signal @returns {Promise<Explanation | string>} */
  async #ask(model, picture, signal) {
    try {
      const [answer] = await classify(model, [picture], { topK: 1, explain: this.method, signal });
      return "message" in answer ? answer.message : (answer.explanation ?? "no explanation");
    } catch (error) {
      return error instanceof ApiError ? error.message : "";
    }
  }

  /** The slider goes as deep as the deepest network; at first it is at its end. @param {number} layers */
  #setLayers(layers) {
    const atEnd = this.depth === 1;
    if (layers && Number(this.#layer.max) !== layers) {
      this.#layer.max = String(layers);
      if (atEnd) this.#layer.value = String(layers);
    }
    this.#show();
  }

  #show() {
    this.#output.textContent = this.method ? `${this.#layer.value} of ${this.#layer.max}` : "\u00a0";
  }
}

/** The layer at this depth. @param {Explanation} explanation @param {number} depth  0..1 @returns {number}  1 is the first */
export function layerAt({ values }, depth) {
  return Math.max(1, Math.round(depth * values.length));
}
