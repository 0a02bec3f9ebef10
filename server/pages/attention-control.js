/** Controls of attention maps: method and layer. Hidden if the service does not provide attention maps. */

import { routeUrl, ApiError, classify, request } from "./api.js";
import { byId } from "./elements.js";

/**
 * @typedef {import("./api.js").Explanation} Explanation
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").InputImage} InputImage
 */

/** Fires `change` when another method is selected, `layer` when another layer is. */
export class AttentionControl extends EventTarget {
  #root = byId("attention", HTMLDivElement);
  #method = byId("method", HTMLSelectElement);
  #layer = byId("layer", HTMLInputElement);
  #layerText = byId("layer-text", HTMLOutputElement);
  #checked = false;
  /** Attention map of each model by name, or the reason why there is none. @type {Map<string, Explanation | string>} */
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

  /** Selected method; "" for none. @returns {"" | "attention" | "rollout"} */
  get method() {
    return /** @type {"" | "attention" | "rollout"} */ (this.#root.hidden ? "" : this.#method.value);
  }

  /** Selected layer relative to the number of layers; 1 is the last. */
  get depth() {
    return Number(this.#layer.value) / Number(this.#layer.max);
  }

  /** Show the controls if the service's OpenAPI document has the parameter. */
  async showIfSupported() {
    if (this.#checked) return;
    const { paths } = await (await request(routeUrl("openapi.json"))).json();
    this.#checked = true;
    /** @type {{name: string}[]} */
    const parameters = paths["/classify"]?.post?.parameters ?? [];
    this.#root.hidden = !parameters.some(({ name }) => name === "explain");
  }

  /**
   * Request the attention map of each model, unless there is no image or no method selected.
   *
   * @param {Model[]} models @param {InputImage | undefined} image @param {AbortSignal} signal
   */
  async explain(models, image, signal) {
    this.explanations = new Map();
    if (!this.method || !image) return;
    for (const { name } of models) this.explanations.set(name, await this.#request(name, image, signal));
    const layerCounts = [...this.explanations.values()].map((map) => (typeof map === "string" ? 0 : map.values.length));
    this.#setLayers(Math.max(0, ...layerCounts));
  }

  /** @param {string} model @param {InputImage} image @param {AbortSignal} signal @returns {Promise<Explanation | string>} */
  async #request(model, image, signal) {
    try {
      const [result] = await classify(model, [image], { topK: 1, explain: this.method, signal });
      return "message" in result ? result.message : (result.explanation ?? "no attention map");
    } catch (error) {
      return error instanceof ApiError ? error.message : "";
    }
  }

  /** Set the slider's maximum to the deepest network's number of layers; it stays at the end if it was there. @param {number} layers */
  #setLayers(layers) {
    const atEnd = this.depth === 1;
    if (layers && Number(this.#layer.max) !== layers) {
      this.#layer.max = String(layers);
      if (atEnd) this.#layer.value = String(layers);
    }
    this.#show();
  }

  #show() {
    this.#layerText.textContent = this.method ? `${this.#layer.value} of ${this.#layer.max}` : "\u00a0";
  }
}

/** Layer number, from 1, at a relative depth. @param {Explanation} explanation @param {number} depth  0..1 @returns {number} */
export function layerAt({ values }, depth) {
  return Math.max(1, Math.round(depth * values.length));
}
