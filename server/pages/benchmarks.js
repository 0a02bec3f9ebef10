/** Benchmarks page: starts a run, shows its progress, and shows or compares finished runs. */

import { ApiError, request, routeUrl } from "./api.js";
import { addApiKeyForm } from "./api-key-form.js";
import { download } from "./download.js";
import { byId, element } from "./elements.js";
import { Notice } from "./notice.js";
import { RunView } from "./run-view.js";
import { Runs } from "./runs.js";
import { ServiceStatus } from "./service-status.js";

/** @typedef {import("./runs.js").Run} Run */

const BATCH_SIZES = [1, 2, 4, 8, 16, 32];

const page = byId("page", HTMLElement);
const modelSelect = byId("model", HTMLSelectElement);
const runSelect = byId("run", HTMLSelectElement);
const otherSelect = byId("other", HTMLSelectElement);
const sizes = byId("sizes", HTMLInputElement);
const status = byId("status", HTMLParagraphElement);
const bar = byId("bar", HTMLProgressElement);
const [start, cancel, csv, json] = ["start", "cancel", "csv", "json"].map((id) => byId(id, HTMLButtonElement));
const service = new ServiceStatus();
const runs = new Runs();
const view = new RunView();
const notice = new Notice(refresh);

function refresh() {
  service.refresh();
  runs.refresh();
}

function showService() {
  const { state, message, ready } = service;
  if (state === "unreachable") notice.show(`Server unreachable: ${message}`, true);
  else notice.hide();
  if (!ready.length) return;
  const previous = modelSelect.disabled ? service.default : modelSelect.value;
  modelSelect.replaceChildren(...ready.map(({ name }) => element("option", { value: name }, name)));
  modelSelect.value = ready.some(({ name }) => name === previous) ? previous : ready[0].name;
  modelSelect.disabled = false;
  suggestSizes();
  showRuns();
}

/** Suggest all powers of two up to the model's maximum batch size, unless the user has entered sizes. */
function suggestSizes() {
  const maximum = service.models.find(({ name }) => name === modelSelect.value)?.max_batch_size ?? 1;
  if (sizes.value === sizes.defaultValue) {
    sizes.value = sizes.defaultValue = BATCH_SIZES.filter((size) => size <= maximum).join(", ");
  }
}

function showRuns() {
  const { all, current } = runs;
  page.dataset.state = current ? "running" : runs.loaded ? "idle" : "loading";
  start.disabled = modelSelect.disabled || Boolean(current);
  cancel.disabled = !current;
  bar.value = current?.total ? current.done / current.total : 0;
  if (current) showStatus(`${current.model}: ${current.stage} (${Math.round(100 * bar.value)} %)`);
  else if (all.length) showStatus(outcome(all[0]));
  setOptions(runSelect, all, all[0]?.id ?? "");
  setOptions(otherSelect, all.slice(0, all.length > 1 ? undefined : 0), "", "none");
  showSelected();
}

function showSelected() {
  const [run, other] = [runSelect, otherSelect].map(({ value }) => runs.all.find(({ id }) => id === value));
  csv.disabled = json.disabled = !run?.rows.length;
  view.show(run, other === run ? undefined : other);
}

/**
 * Update the options; keeps what the user has selected.
 *
 * @param {HTMLSelectElement} select @param {Run[]} all @param {string} initial  selected unless the user has chosen
 * @param {string} [none]  text of the option that selects no run
 */
function setOptions(select, all, initial, none) {
  const keep = all.some(({ id }) => id === select.value) && select.dataset.userSelected !== undefined;
  const value = keep ? select.value : initial;
  const options = all.map((run) => element("option", { value: run.id }, label(run)));
  if (none !== undefined || !options.length) options.unshift(element("option", { value: "" }, none ?? "no runs yet"));
  select.replaceChildren(...options);
  select.value = value;
  select.disabled = !all.length;
}

/** @param {Run} run */
function label({ model, created_at: createdAt, state }) {
  const time = new Date(createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return `${model}, ${time}${state === "done" ? "" : ` (${state})`}`;
}

/** @param {Run} run */
function outcome({ model, state, error, seconds }) {
  return state === "failed" ? `${model}: failed: ${error}` : `${model}: ${state} after ${seconds.toFixed(1)} s`;
}

/** @param {string} text @param {boolean} [failed] */
function showStatus(text, failed = false) {
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

/** Request body from the form. */
function formOptions() {
  return {
    model: modelSelect.value,
    batch_sizes: sizes.value.split(/[\s,;]+/).filter(Boolean).map(Number),
    iterations: byId("iterations", HTMLInputElement).valueAsNumber,
    against: byId("eager", HTMLInputElement).checked ? "eager" : null,
    force: byId("force", HTMLInputElement).checked,
  };
}

/** Run an action and show its error, if any. @param {() => Promise<unknown>} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    showStatus(`${error.failure.title}: ${error.message}`, true);
  }
}

/** @param {string} extension @param {string} mediaType */
function save(extension, mediaType) {
  return attempt(async () => {
    const response = await request(routeUrl(`benchmarks/${runSelect.value}`), { headers: { accept: mediaType } });
    download(await response.blob(), `benchmark-${runSelect.value}.${extension}`);
  });
}

byId("form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    delete runSelect.dataset.userSelected;
    await runs.start(formOptions());
  });
});
modelSelect.addEventListener("change", suggestSizes);
cancel.addEventListener("click", () => attempt(() => runs.cancel()));
csv.addEventListener("click", () => save("csv", "text/csv"));
json.addEventListener("click", () => save("json", "application/json"));
for (const select of [runSelect, otherSelect]) {
  select.addEventListener("change", () => {
    select.dataset.userSelected = "";
    showSelected();
  });
}
service.addEventListener("change", showService);
runs.addEventListener("change", showRuns);
runs.addEventListener("error", (event) => showStatus(/** @type {CustomEvent<string>} */ (event).detail, true));
addApiKeyForm(refresh);
view.show(undefined, undefined);
refresh();
