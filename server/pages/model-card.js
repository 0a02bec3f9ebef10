/** Model card: state, architecture, preprocessing, configuration and labels of a served model. */

import { element } from "./elements.js";

/** @typedef {import("./api.js").Model} Model */

const FAMILIES = /** @type {Record<string, string>} */ ({
  vit: "Vision Transformer",
  tnt: "Transformer in Transformer",
  onnx: "ONNX file",
});
const MAX_LABELS = 400;

export class ModelCard {
  /** @param {Model} model @param {boolean} isDefault @param {Set<string>} open  ids of expanded sections */
  constructor(model, isDefault, open) {
    const { name, state, choice } = model;
    const tags = [element("span", { class: "state", "data-state": state }, state)];
    if (isDefault) tags.push(element("span", { class: "tag" }, "default"));
    this.element = element(
      "article",
      { class: "panel model", "aria-label": name },
      element("div", { class: "model-head" }, element("h2", {}, name), ...tags),
      properties(summary(model)),
      ...(choice ? [element("p", { class: "choice" }, sentence(choice))] : []),
      ...sections(model).map(([title, content]) => section(name, title, content, open)),
    );
  }
}

/** @param {Model} model @returns {[string, unknown][]} */
function summary(model) {
  const { config, labels } = model;
  const side = config?.image_size ?? model.preprocessing?.size;
  const versions = model.versions ?? [];
  return [
    ["architecture", model.family && (FAMILIES[model.family] ?? model.family)],
    ["versions", versions.length > 1 && versions.join(", ")],
    ["parameters", model.parameters && model.parameters.toLocaleString("en")],
    ["input size", side && `${side} × ${side} pixels`],
    ["patches", config?.patch_size && patches(config)],
    ["classes", labels && (labels.length || "none (feature extractor)")],
    ["runs on", model.backend && `${model.backend}, ${model.device}, ${model.dtype}`],
    ["max batch size", model.max_batch_size && `${model.max_batch_size} images`],
  ];
}

/** @param {NonNullable<Model["config"]>} config */
function patches({ image_size: size, patch_size: patch, sub_patch_size: sub }) {
  const grid = Math.floor(size / patch);
  const subPatches = sub ? `, each with ${patch / sub} × ${patch / sub} sub-patches` : "";
  return `${grid} × ${grid} of ${patch} × ${patch} pixels${subPatches}`;
}

/** @param {Model} model @returns {[string, HTMLElement][]} */
function sections({ preprocessing, config, labels }) {
  /** @type {[string, HTMLElement][]} */
  const result = [];
  if (preprocessing) result.push(["Preprocessing", properties(Object.entries(preprocessing))]);
  if (config && Object.keys(config).length) result.push(["Configuration", properties(Object.entries(config))]);
  if (labels?.length) result.push([`Labels (${labels.length.toLocaleString("en")})`, labelList(labels)]);
  return result;
}

/** @param {string} model @param {string} title @param {HTMLElement} content @param {Set<string>} open */
function section(model, title, content, open) {
  const id = `${model} ${title}`.replace(/\s+/g, "-");
  const details = element("details", { id }, element("summary", {}, title), content);
  details.toggleAttribute("open", open.has(id));
  return details;
}

/** @param {[string, unknown][]} entries  those without a value are omitted */
function properties(entries) {
  const shown = entries.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return element(
    "dl",
    { class: "properties" },
    ...shown.flatMap(([name, value]) => [element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, formatted(value))]),
  );
}

/** @param {unknown} value */
function formatted(value) {
  if (Array.isArray(value)) return value.map((part) => (typeof part === "number" ? Number(part.toFixed(4)) : part)).join(", ");
  return value === true ? "yes" : value === false ? "no" : String(value);
}

/** @param {string} text */
function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {string[]} labels */
function labelList(labels) {
  const more = labels.length - MAX_LABELS;
  const items = labels.slice(0, MAX_LABELS).map((label, index) => element("li", { value: String(index) }, label));
  if (more > 0) items.push(element("li", { class: "muted" }, `and ${more.toLocaleString("en")} more`));
  return element("ol", { class: "labels", start: "0", tabindex: "0" }, ...items);
}
