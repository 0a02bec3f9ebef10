/** The page: takes a picture, asks every chosen model, shows the answers. Only the newest question counts. */

import { ApiError, classify } from "./api.js";
import { Attention } from "./attention.js";
import { Camera } from "./camera.js";
import { Chooser } from "./chooser.js";
import { Command } from "./command.js";
import { byId } from "./elements.js";
import { Gallery } from "./gallery.js";
import { takeFiles } from "./intake.js";
import { askForKey } from "./keyform.js";
import { Latest } from "./latest.js";
import { Notice } from "./notice.js";
import { inRequests } from "./requests.js";
import { Results } from "./results.js";
import { Service } from "./service.js";
import { Stage } from "./stage.js";

/**
 * @typedef {import("./api.js").Answer} Answer
 * @typedef {import("./api.js").Model} Model
 * @typedef {import("./api.js").Picture} Picture
 */

const TOP_K = 5;
/** From the end of a stroke to the question, in ms: the next stroke of the same sign may follow. */
const PEN_REST = 180;

const page = byId("page", HTMLElement);
const service = new Service();
const chooser = new Chooser();
const stage = new Stage();
const results = new Results();
const gallery = new Gallery();
const command = new Command();
const attention = new Attention();
const camera = new Camera();
const latest = new Latest();
const looking = new Latest();
const notice = new Notice(() => retry());

/** What is asked about: nothing, the drawing, or files. @type {Picture[]} */
let pictures = [];
/** For each picture its answers by the model's name. @type {Map<string, Answer>[]} */
let answers = [];
let selected = 0;
let drawn = false;

/** @param {"empty" | "pending" | "answered"} state */
function setState(state) {
  page.dataset.state = state;
}

/** The drawing has become another one. */
function askDrawing() {
  if (stage.drawing.isEmpty) return forget();
  setState("pending");
  latest.schedule(PEN_REST, async (signal) => {
    take([{ name: "drawing.png", blob: stage.drawing.toBlob() }], true);
    await ask(signal);
  });
}

/** @param {File[]} files */
function askFiles(files) {
  stage.drawing.clear();
  take(files.map((file) => ({ name: file.name, blob: file })), false);
  askAgain();
}

/** The same pictures, other models or another try. */
function askAgain() {
  if (!pictures.length) return;
  setState("pending");
  latest.schedule(0, ask);
}

/** @param {Picture[]} taken @param {boolean} isDrawn */
function take(taken, isDrawn) {
  [pictures, drawn, selected] = [taken, isDrawn, 0];
  stage.show(isDrawn || !taken.length ? null : taken[0]);
  gallery.setPictures(isDrawn ? [] : taken);
  gallery.select(0);
  showCommand();
}

function forget() {
  latest.cancel();
  looking.cancel();
  notice.hide();
  take([], false);
  results.showEmpty();
  setState("empty");
}

/** @param {AbortSignal} signal */
async function ask(signal) {
  const models = chooser.chosen;
  answers = pictures.map(() => new Map());
  if (!models.length) return service.refresh();
  notice.hide();
  results.showPending();
  await Promise.all(models.map((model) => askModel(model, signal)));
  if (signal.aborted) return;
  setState("answered");
  lookAt();
}

/** What the models looked at in the selected picture, where that is wanted. */
function lookAt() {
  looking.schedule(0, async (signal) => {
    const readable = chooser.chosen.filter(({ name }) => "predictions" in (answers[selected]?.get(name) ?? {}));
    await attention.explain(readable, pictures[selected], signal);
    if (!signal.aborted) showAttention();
  });
}

function showAttention() {
  results.showAttention(attention.explanations, attention.depth);
}

/** One request after the other, so that a long list does not crowd out others. @param {Model} model @param {AbortSignal} signal */
async function askModel(model, signal) {
  let index = 0;
  for (const part of inRequests(pictures)) {
    const found = await classify(model.name, part, { topK: TOP_K, signal }).catch((error) => failures(error, part));
    if (signal.aborted) return;
    for (const answer of found) await answered(index++, model, answer, signal);
  }
}

/** @param {number} index @param {Model} model @param {Answer} answer @param {AbortSignal} signal */
async function answered(index, model, answer, signal) {
  answers[index].set(model.name, answer);
  if (pictures.length > 1) gallery.show(index, answers[index]);
  if (index === selected) await showSelected(signal);
}

/** @param {AbortSignal} [signal] */
async function showSelected(signal) {
  const shown = answers[selected];
  const image = await createImageBitmap(pictures[selected].blob).catch(() => null);
  if (!signal?.aborted && shown === answers[selected]) results.show(shown, image);
}

/** An error of the whole request is the answer to each of its pictures. @param {unknown} error @param {Picture[]} part */
function failures(error, part) {
  if (!(error instanceof ApiError)) return [];
  if (error.status === 0 || error.status === 503) service.refresh();
  else if (error.status === 429) notice.show(error.message, true);
  return part.map(() => error.failure);
}

async function retry() {
  await service.refresh();
  askAgain();
}

function showCommand() {
  command.show(pictures, chooser.chosen.map(({ name }) => name), TOP_K, drawn ? pictures[0] : null);
}

function showService() {
  const { state, message, models } = service;
  if (state === "gone") notice.show(`The server does not answer: ${message}`, true);
  else if (state === "failed") notice.show("No model could be loaded; the server’s log says why.", true);
  else if (state === "loading" && !service.ready.length) notice.show("The models are loading…", false);
  else notice.hide();
  if (state === "ready") attention.offer().catch(() => {});
  if (state !== "gone" && state !== "locked") chooser.setModels(models, service.default);
}

stage.addEventListener("start", () => latest.cancel());
stage.addEventListener("change", askDrawing);
stage.addEventListener("clear", () => (stage.showsPicture ? forget() : stage.drawing.clear()));
gallery.addEventListener("select", (event) => {
  selected = /** @type {CustomEvent<number>} */ (event).detail;
  stage.show(pictures[selected]);
  gallery.select(selected);
  if (answers[selected].size < chooser.chosen.length) results.showEmpty();
  showSelected().then(lookAt);
});
chooser.addEventListener("change", () => {
  results.setModels(chooser.chosen);
  stage.invite(chooser.chosen);
  showCommand();
  askAgain();
});
attention.addEventListener("change", lookAt);
attention.addEventListener("layer", showAttention);
camera.addEventListener("picture", (event) => askFiles([/** @type {CustomEvent<File>} */ (event).detail]));
camera.addEventListener("error", (event) => notice.show(/** @type {CustomEvent<string>} */ (event).detail, false));
service.addEventListener("change", showService);
takeFiles(askFiles);
askForKey(retry);
service.refresh();
