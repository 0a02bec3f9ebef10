/** What is served, and whether the service is there; looks again until it is. */

import { ApiError, listModels } from "./api.js";

/** @typedef {import("./api.js").Model} Model */

const PAUSE = 1500;

/** Fires `change` when the state or the models are different from before. */
export class Service extends EventTarget {
  /** `locked`: it wants a key. @type {"connecting" | "loading" | "ready" | "failed" | "gone" | "locked"} */
  state = "connecting";
  /** @type {Model[]} */
  models = [];
  default = "";
  message = "";
  #timer = 0;

  /** @returns {Model[]} */
  get ready() {
    return this.models.filter((model) => model.state === "ready");
  }

  /** Asks now; and again after a pause for as long as not every model is ready. */
  async refresh() {
    clearTimeout(this.#timer);
    const before = JSON.stringify([this.state, this.models]);
    try {
      const { default: first, models } = await listModels();
      Object.assign(this, { default: first, models, state: overall(models), message: "" });
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      this.state = status === 503 ? "loading" : status === 401 ? "locked" : "gone";
      this.message = error instanceof Error ? error.message : String(error);
    }
    if (this.state === "loading" || this.state === "gone") this.#timer = setTimeout(() => this.refresh(), PAUSE);
    if (JSON.stringify([this.state, this.models]) !== before) this.dispatchEvent(new Event("change"));
  }
}

/** @param {Model[]} models */
function overall(models) {
  if (models.some(({ state }) => state === "loading")) return "loading";
  return models.some(({ state }) => state === "ready") ? "ready" : "failed";
}
