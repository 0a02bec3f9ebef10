/** Which model answers: one of those that are served, or all of them side by side. */

import { byId, element } from "./elements.js";

/** @typedef {import("./api.js").Model} Model */

const ALL = "";
const MOST_SIDE_BY_SIDE = 6;

/** Fires `change` when other models are chosen. */
export class Chooser extends EventTarget {
  /** @type {Model[]} */
  #models = [];
  #select = byId("model", HTMLSelectElement);
  #facts = byId("facts", HTMLParagraphElement);

  constructor() {
    super();
    this.#select.addEventListener("change", () => this.#changed());
  }

  /** Those that are to answer, and can. @returns {Model[]} */
  get chosen() {
    const { value, disabled } = this.#select;
    if (disabled) return [];
    const ready = this.#models.filter(({ state }) => state === "ready");
    return value === ALL ? ready.slice(0, MOST_SIDE_BY_SIDE) : ready.filter(({ name }) => name === value);
  }

  /** Keeps the choice, where it can be kept. @param {Model[]} models @param {string} first  chosen where nothing is yet */
  setModels(models, first) {
    const before = this.#select.disabled ? first : this.#select.value;
    this.#models = models;
    const ready = models.filter(({ state }) => state === "ready");
    const options = models.map(({ name, state }) => {
      const option = element("option", { value: name }, state === "ready" ? name : `${name} (${state})`);
      option.toggleAttribute("disabled", state !== "ready");
      return option;
    });
    if (ready.length > 1) options.push(element("option", { value: ALL }, "All, side by side"));
    this.#select.replaceChildren(...options);
    this.#select.disabled = ready.length === 0;
    const kept = before === ALL || ready.some(({ name }) => name === before);
    this.#select.value = kept ? before : (ready[0]?.name ?? ALL);
    this.#changed();
  }

  #changed() {
    this.#facts.textContent = facts(this.chosen) || "\u00a0";
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {Model[]} models */
function facts(models) {
  if (models.length !== 1) return models.map(({ name }) => name).join(" · ");
  const [{ parameters, backend, device, dtype }] = models;
  return [parameters && `${count(parameters)} parameters`, backend, device, dtype].filter(Boolean).join(" · ");
}

/** @param {number} parameters */
function count(parameters) {
  return parameters < 1e6 ? `${Math.round(parameters / 1e3)} k` : `${(parameters / 1e6).toFixed(1)} M`;
}
