/** Classify page: sends images to the selected models and shows their results. A new request replaces an older one. */

import { ApiError, classify } from "./api.js";
import { addApiKeyForm } from "./api-key-form.js";
import { AttentionControl } from "./attention-control.js";
import { Camera } from "./camera.js";
import { CommandPanel } from "./command-panel.js";
import { byId } from "./elements.js";
import { addFileInputs } from "./file-input.js";
import { Gallery } from "./gallery.js";
import { ImageInput } from "./image-input.js";
import { LatestTask } from "./latest-task.js";
import { ModelSelect } from "./model-select.js";
import { Notice } from "./notice.js";
import { requestChunks } from "./request-chunks.js";
import { Results } from "./results.js";
import { ServiceStatus } from "./service-status.js";

/**
 * @typedef {import("./api.js").InputImage} InputImage
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Result} Result
 */

const TOP_K = 5;
/** Delay in ms from the end of a stroke to the request: another stroke may follow. */
const STROKE_DELAY = 180;

const page = byId("page", HTMLElement);
const service = new ServiceStatus();
const modelSelect = new ModelSelect();
const input = new ImageInput();
const resultCards = new Results();
const gallery = new Gallery();
const command = new CommandPanel();
const attention = new AttentionControl();
const camera = new Camera();
const classification = new LatestTask();
const explanation = new LatestTask();
const notice = new Notice(() => retry());

/** Current input: none, the drawing, or files. @type {InputImage[]} */
let images = [];
/** Results of each image by model name. @type {Map<string, Result>[]} */
let results = [];
let selected = 0;
let isDrawing = false;

/** @param {"empty" | "pending" | "done"} state */
function setState(state) {
  page.dataset.state = state;
}

function classifyDrawing() {
  if (input.drawing.isEmpty) return reset();
  setState("pending");
  classification.schedule(STROKE_DELAY, async (signal) => {
    setImages([{ name: "drawing.png", blob: input.drawing.toBlob() }], true);
    await classifyAll(signal);
  });
}

/** @param {File[]} files */
function classifyFiles(files) {
  input.drawing.clear();
  setImages(files.map((file) => ({ name: file.name, blob: file })), false);
  classifyAgain();
}

/** Classify the current images again: the selected models have changed, or the last request failed. */
function classifyAgain() {
  if (!images.length) return;
  setState("pending");
  classification.schedule(0, classifyAll);
}

/** @param {InputImage[]} newImages @param {boolean} drawn */
function setImages(newImages, drawn) {
  [images, isDrawing, selected] = [newImages, drawn, 0];
  input.show(drawn || !newImages.length ? null : newImages[0]);
  gallery.setImages(drawn ? [] : newImages);
  gallery.select(0);
  showCommand();
}

function reset() {
  classification.cancel();
  explanation.cancel();
  notice.hide();
  setImages([], false);
  resultCards.showEmpty();
  setState("empty");
}

/** @param {AbortSignal} signal */
async function classifyAll(signal) {
  const models = modelSelect.selected;
  results = images.map(() => new Map());
  if (!models.length) return service.refresh();
  notice.hide();
  resultCards.showPending();
  await Promise.all(models.map((model) => classifyWith(model, signal)));
  if (signal.aborted) return;
  setState("done");
  explain();
}

/** Request and show the attention maps of the selected image, if a method is selected. */
function explain() {
  explanation.schedule(0, async (signal) => {
    const successful = modelSelect.selected.filter(({ name }) => "predictions" in (results[selected]?.get(name) ?? {}));
    await attention.explain(successful, images[selected], signal);
    if (!signal.aborted) showAttention();
  });
}

function showAttention() {
  resultCards.showAttention(attention.explanations, attention.depth);
}

/** Send one request at a time, so that many images do not fill the queue. @param {Model} model @param {AbortSignal} signal */
async function classifyWith(model, signal) {
  let index = 0;
  for (const chunk of requestChunks(images)) {
    const chunkResults = await classify(model.name, chunk, { topK: TOP_K, signal }).catch((error) => failures(error, chunk));
    if (signal.aborted) return;
    for (const result of chunkResults) await addResult(index++, model, result, signal);
  }
}

/** @param {number} index @param {Model} model @param {Result} result @param {AbortSignal} signal */
async function addResult(index, model, result, signal) {
  results[index].set(model.name, result);
  if (images.length > 1) gallery.show(index, results[index]);
  if (index === selected) await showSelected(signal);
}

/** @param {AbortSignal} [signal] */
async function showSelected(signal) {
  const shown = results[selected];
  const bitmap = await createImageBitmap(images[selected].blob).catch(() => null);
  if (!signal?.aborted && shown === results[selected]) resultCards.show(shown, bitmap);
}

/** Result of every image of a request that failed as a whole. @param {unknown} error @param {InputImage[]} chunk */
function failures(error, chunk) {
  if (!(error instanceof ApiError)) return [];
  if (error.status === 0 || error.status === 503) service.refresh();
  else if (error.status === 429) notice.show(error.message, true);
  return chunk.map(() => error.failure);
}

async function retry() {
  await service.refresh();
  classifyAgain();
}

function showCommand() {
  command.show(images, modelSelect.selected.map(({ name }) => name), TOP_K, isDrawing ? images[0] : null);
}

function showService() {
  const { state, message, models } = service;
  if (state === "unreachable") notice.show(`Server unreachable: ${message}`, true);
  else if (state === "failed") notice.show("No model could be loaded. See the server log for the reason.", true);
  else if (state === "loading" && !service.ready.length) notice.show("Models are loading…", false);
  else notice.hide();
  if (state === "ready") attention.showIfSupported().catch(() => {});
  if (state !== "unreachable" && state !== "unauthorized") modelSelect.setModels(models, service.default);
}

input.addEventListener("start", () => classification.cancel());
input.addEventListener("change", classifyDrawing);
input.addEventListener("clear", () => (input.showsImage ? reset() : input.drawing.clear()));
gallery.addEventListener("select", (event) => {
  selected = /** @type {CustomEvent<number>} */ (event).detail;
  input.show(images[selected]);
  gallery.select(selected);
  if (results[selected].size < modelSelect.selected.length) resultCards.showEmpty();
  showSelected().then(explain);
});
modelSelect.addEventListener("change", () => {
  resultCards.setModels(modelSelect.selected);
  input.showClasses(modelSelect.selected);
  showCommand();
  classifyAgain();
});
attention.addEventListener("change", explain);
attention.addEventListener("layer", showAttention);
camera.addEventListener("photo", (event) => classifyFiles([/** @type {CustomEvent<File>} */ (event).detail]));
camera.addEventListener("error", (event) => notice.show(/** @type {CustomEvent<string>} */ (event).detail, false));
service.addEventListener("change", showService);
addFileInputs(classifyFiles);
addApiKeyForm(retry);
service.refresh();
