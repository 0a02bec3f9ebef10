/** The page Benchmarks: starts one, follows it, shows the last ones and compares two of them. */

import { address, ApiError, request } from "./api.js";
import { download } from "./download.js";
import { byId, element } from "./elements.js";
import { askForKey } from "./keyform.js";
import { Notice } from "./notice.js";
import { Runs } from "./runs.js";
import { RunView } from "./runview.js";
import { Service } from "./service.js";

/** @typedef {import("./runs.js").Run} Run */

const SIZES = [1, 2, 4, 8, 16, 32];

const page = byId("page", HTMLElement);
const model = byId("model", HTMLSelectElement);
const chosen = byId("run", HTMLSelectElement);
const other = byId("other", HTMLSelectElement);
const sizes = byId("sizes", HTMLInputElement);
const stage = byId("stage", HTMLParagraphElement);
const bar = byId("bar", HTMLProgressElement);
const [start, cancel, csv, json] = ["start", "cancel", "csv", "json"].map((id) => byId(id, HTMLButtonElement));
const service = new Service();
const runs = new Runs();
const view = new RunView();
const notice = new Notice(refresh);

function refresh() {
  service.refresh();
  runs.refresh();
}

function showService() {
  const { state, message, ready } = service;
  if (state === "gone") notice.show(`The server does not answer: ${message}`, true);
  else notice.hide();
  if (!ready.length) return;
  const before = model.disabled ? service.default : model.value;
  model.replaceChildren(...ready.map(({ name }) => element("option", { value: name }, name)));
  model.value = ready.some(({ name }) => name === before) ? before : ready[0].name;
  model.disabled = false;
  suggestSizes();
  showRuns();
}

/** Each doubling that the model takes, unless the visitor has named others. */
function suggestSizes() {
  const largest = service.models.find(({ name }) => name === model.value)?.max_batch_size ?? 1;
  if (sizes.value === sizes.defaultValue) {
    sizes.value = sizes.defaultValue = SIZES.filter((size) => size <= largest).join(", ");
  }
}

function showRuns() {
  const { all, current } = runs;
  page.dataset.state = current ? "running" : runs.known ? "idle" : "loading";
  start.disabled = model.disabled || Boolean(current);
  cancel.disabled = !current;
  bar.value = current?.total ? current.done / current.total : 0;
  if (current) say(`${current.model}: ${current.stage} (${Math.round(100 * bar.value)} %)`);
  else if (all.length) say(ending(all[0]));
  offer(chosen, all, all[0]?.id ?? "");
  offer(other, all.slice(0, all.length > 1 ? undefined : 0), "", "nothing");
  showChosen();
}

function showChosen() {
  const [run, second] = [chosen, other].map(({ value }) => runs.all.find(({ id }) => id === value));
  csv.disabled = json.disabled = !run?.rows.length;
  view.show(run, second === run ? undefined : second);
}

/** @param {HTMLSelectElement} select @param {Run[]} all @param {string} first @param {string} [none]  what choosing none is called */
function offer(select, all, first, none) {
  const kept = all.some(({ id }) => id === select.value) && select.dataset.chosen !== undefined;
  const value = kept ? select.value : first;
  const options = all.map((run) => element("option", { value: run.id }, title(run)));
  if (none !== undefined || !options.length) options.unshift(element("option", { value: "" }, none ?? "none yet"));
  select.replaceChildren(...options);
  select.value = value;
  select.disabled = !all.length;
}

/** @param {Run} run */
function title({ model: name, created_at: at, state }) {
  const time = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return `${name}, ${time}${state === "done" ? "" : ` (${state})`}`;
}

/** @param {Run} run */
function ending({ model: name, state, error, seconds }) {
  return state === "failed" ? `${name} failed: ${error}` : `${name}: ${state} after ${seconds.toFixed(1)} s`;
}

/** @param {string} text @param {boolean} [failed] */
function say(text, failed = false) {
  stage.textContent = text;
  stage.classList.toggle("failed", failed);
}

/** What the form says, as the service wants it. */
function asked() {
  return {
    model: model.value,
    batch_sizes: sizes.value.split(/[\s,;]+/).filter(Boolean).map(Number),
    iterations: byId("iterations", HTMLInputElement).valueAsNumber,
    against: byId("eager", HTMLInputElement).checked ? "eager" : null,
    force: byId("force", HTMLInputElement).checked,
  };
}

/** @param {() => Promise<unknown>} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(`${error.failure.title}: ${error.message}`, true);
  }
}

/** @param {string} kind @param {string} type */
function save(kind, type) {
  return attempt(async () => {
    const answer = await request(address(`benchmarks/${chosen.value}`), { headers: { accept: type } });
    download(await answer.blob(), `benchmark-${chosen.value}.${kind}`);
  });
}

byId("form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    delete chosen.dataset.chosen;
    await runs.start(asked());
  });
});
model.addEventListener("change", suggestSizes);
cancel.addEventListener("click", () => attempt(() => runs.cancel()));
csv.addEventListener("click", () => save("csv", "text/csv"));
json.addEventListener("click", () => save("json", "application/json"));
for (const select of [chosen, other]) {
  select.addEventListener("change", () => {
    select.dataset.chosen = "";
    showChosen();
  });
}
service.addEventListener("change", showService);
runs.addEventListener("change", showRuns);
runs.addEventListener("error", (event) => say(/** @type {CustomEvent<string>} */ (event).detail, true));
askForKey(refresh);
view.show(undefined, undefined);
refresh();
