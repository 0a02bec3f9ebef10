/** Service status: served models and their state, polled until all models are ready. */

import { ApiError, listModels } from "./api.js";

/** @typedef {import("./api.js").Model} Model */

const POLL_INTERVAL = 1500;

/** Fires `change` when the state or the models have changed. */
export class ServiceStatus extends EventTarget {
  /** @type {"connecting" | "loading" | "ready" | "failed" | "unreachable" | "unauthorized"} */
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

  /** Update now, and again later as long as models are loading or the service is unreachable. */
  async refresh() {
    clearTimeout(this.#timer);
    const previous = JSON.stringify([this.state, this.models]);
    try {
      const { default: defaultModel, models } = await listModels();
      Object.assign(this, { default: defaultModel, models, state: overall(models), message: "" });
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      this.state = status === 503 ? "loading" : status === 401 ? "unauthorized" : "unreachable";
      this.message = error instanceof Error ? error.message : String(error);
    }
    if (this.state === "loading" || this.state === "unreachable") this.#timer = setTimeout(() => this.refresh(), POLL_INTERVAL);
    if (JSON.stringify([this.state, this.models]) !== previous) this.dispatchEvent(new Event("change"));
  }
}

/** @param {Model[]} models */
function overall(models) {
  if (models.some(({ state }) => state === "loading")) return "loading";
  return models.some(({ state }) => state === "ready") ? "ready" : "failed";
}
