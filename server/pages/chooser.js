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
  #beside = byId("beside", HTMLSelectElement);
  #facts = byId("facts", HTMLParagraphElement);

  constructor() {
    super();
    this.#select.addEventListener("change", () => this.#changed());
    this.#beside.addEventListener("change", () => this.#changed());
  }

  /** Those that are to answer, and can. @returns {Model[]} */
  get chosen() {
    const { value, disabled } = this.#select;
    if (disabled) return [];
    const ready = this.#models.filter(({ state }) => state === "ready");
    if (value === ALL) return ready.slice(0, MOST_SIDE_BY_SIDE);
    const names = this.#beside.hidden ? [value] : [value, this.#beside.value];
    return ready.filter(({ name }) => names.includes(name)).sort((a) => (a.name === value ? -1 : 1));
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
    this.#offerSecond(ready);
    this.#changed();
  }

  /** Two of several; of two, all are two. @param {Model[]} ready */
  #offerSecond(ready) {
    const before = this.#beside.value;
    const none = element("option", { value: "" }, "no other");
    this.#beside.replaceChildren(none, ...ready.map(({ name }) => element("option", { value: name }, name)));
    this.#beside.value = ready.some(({ name }) => name === before) ? before : "";
  }

  #changed() {
    const hidden = this.#select.value === ALL || this.#beside.options.length < 4;
    this.#beside.hidden = hidden;
    if (this.#beside.labels[0]) this.#beside.labels[0].hidden = hidden;
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
