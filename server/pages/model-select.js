/** Model selection: one served model, two, or all side by side. */

import { byId, element } from "./elements.js";

/** @typedef {import("./api.js").Model} Model */

const ALL = "";
const MAX_SIDE_BY_SIDE = 6;

/** Fires `change` when the selection changes. */
export class ModelSelect extends EventTarget {
  /** @type {Model[]} */
  #models = [];
  #select = byId("model", HTMLSelectElement);
  #second = byId("second-model", HTMLSelectElement);
  #summary = byId("model-summary", HTMLParagraphElement);

  constructor() {
    super();
    this.#select.addEventListener("change", () => this.#changed());
    this.#second.addEventListener("change", () => this.#changed());
  }

  /** Selected models that are ready. @returns {Model[]} */
  get selected() {
    const { value, disabled } = this.#select;
    if (disabled) return [];
    const ready = this.#models.filter(({ state }) => state === "ready");
    if (value === ALL) return ready.slice(0, MAX_SIDE_BY_SIDE);
    const names = this.#second.hidden ? [value] : [value, this.#second.value];
    return ready.filter(({ name }) => names.includes(name)).sort((a) => (a.name === value ? -1 : 1));
  }

  /** Update the options; keeps the selection if possible. @param {Model[]} models @param {string} initial  first selection */
  setModels(models, initial) {
    const previous = this.#select.disabled ? initial : this.#select.value;
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
    const kept = previous === ALL || ready.some(({ name }) => name === previous);
    this.#select.value = kept ? previous : (ready[0]?.name ?? ALL);
    this.#setSecondOptions(ready);
    this.#changed();
  }

  /** Options of the second model. @param {Model[]} ready */
  #setSecondOptions(ready) {
    const previous = this.#second.value;
    const none = element("option", { value: "" }, "none");
    this.#second.replaceChildren(none, ...ready.map(({ name }) => element("option", { value: name }, name)));
    this.#second.value = ready.some(({ name }) => name === previous) ? previous : "";
  }

  #changed() {
    const hidden = this.#select.value === ALL || this.#second.options.length < 4;
    this.#second.hidden = hidden;
    if (this.#second.labels[0]) this.#second.labels[0].hidden = hidden;
    this.#summary.textContent = summaryOf(this.selected) || "\u00a0";
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {Model[]} models */
function summaryOf(models) {
  if (models.length !== 1) return models.map(({ name }) => name).join(" · ");
  const [{ parameters, backend, device, dtype }] = models;
  return [parameters && `${abbreviated(parameters)} parameters`, backend, device, dtype].filter(Boolean).join(" · ");
}

/** @param {number} parameters */
function abbreviated(parameters) {
  return parameters < 1e6 ? `${Math.round(parameters / 1e3)} k` : `${(parameters / 1e6).toFixed(1)} M`;
}
