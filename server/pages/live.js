/** Live page: polls the metrics every second and charts their rates. */

import { request, routeUrl } from "./api.js";
import { addApiKeyForm } from "./api-key-form.js";
import { Chart } from "./chart.js";
import { byId, element } from "./elements.js";
import { MetricsHistory } from "./metrics-history.js";
import { Notice } from "./notice.js";
import { parseMetrics } from "./prometheus.js";
import { linearScale, shortNumber, zeroBasedScale } from "./scales.js";

/** @typedef {import("./metrics-history.js").Interval} Interval */

const SECOND = 1000;
const HISTORY_SECONDS = 120;

const page = byId("page", HTMLElement);
const model = byId("model", HTMLSelectElement);
const pause = byId("pause", HTMLButtonElement);
const notice = new Notice(poll);
const history = new MetricsHistory(HISTORY_SECONDS * SECOND);

const NUMBERS = /** @type {[string, (interval: Interval) => number | null, string][]} */ ([
  ["pending", ({ pending }) => pending, "images"],
  ["requests", ({ requests }) => requests, "per second"],
  ["images", ({ images }) => images, "per second"],
  ["errors", ({ errors }) => errors, "per second"],
  ["latency", ({ p50 }) => p50 && 1e3 * p50, "ms, median"],
  ["batch size", ({ batch }) => batch, "images, mean"],
]);
const values = NUMBERS.map(() => element("dd", { class: "value" }, "–"));
byId("numbers", HTMLDListElement).append(
  ...NUMBERS.map(([name, , unit], i) => element("div", {}, element("dt", {}, name), values[i], element("dd", { class: "muted" }, unit))),
);

const rate = new Chart("Requests", "per second, by seconds ago");
const latency = new Chart("Latency", "ms from admission to response");
const pending = new Chart("Pending", "images admitted and not yet answered");
const sizes = new Chart("Batch sizes", "model calls by maximum number of images");
byId("charts", HTMLDivElement).append(...[rate, latency, pending, sizes].map((chart) => chart.element));

async function poll() {
  try {
    const samples = parseMetrics(await (await request(routeUrl("metrics"), { cache: "no-store" })).text());
    history.add(samples, performance.now());
    notice.hide();
  } catch (error) {
    notice.show(error instanceof Error ? error.message : String(error), true);
    return;
  }
  addModelOptions();
  show();
}

function addModelOptions() {
  const names = history.models.filter((name) => ![...model.options].some(({ value }) => value === name));
  model.append(...names.map((name) => element("option", { value: name }, name)));
}

function show() {
  const intervals = history.intervals(model.value);
  const last = intervals[intervals.length - 1];
  NUMBERS.forEach(([, valueOf], i) => {
    const value = last ? valueOf(last) : null;
    values[i].textContent = value === null ? "–" : shortNumber(value);
  });
  const seconds = intervals.length ? (last.time - intervals[0].time) / SECOND : 0;
  const quarter = Math.min(HISTORY_SECONDS, Math.max(20, 20 * Math.ceil(seconds / 20))) / 4;
  const x = linearScale(-4 * quarter, 0, [4, 3, 2, 1, 0].map((i) => -i * quarter));
  const line = (/** @type {string} */ name, /** @type {string} */ style, /** @type {(interval: Interval) => number | null} */ valueOf) => ({
    name,
    style,
    points: intervals.flatMap((interval) => {
      const y = valueOf(interval);
      return y === null ? [] : [/** @type {[number, number]} */ ([(interval.time - last.time) / SECOND, y])];
    }),
  });
  const plot = (/** @type {Chart} */ chart, /** @type {import("./chart.js").Series[]} */ ...series) =>
    chart.show({ x, y: zeroBasedScale(series.flatMap(({ points }) => points.map(([, y]) => y))), series, dots: false, xText: (s) => String(-s) });
  plot(rate, line("succeeded", "primary", ({ requests }) => requests), line("errors", "baseline", ({ errors }) => errors));
  plot(latency, line("median", "primary", ({ p50 }) => p50 && 1e3 * p50), line("95th percentile", "primary-p95", ({ p95 }) => p95 && 1e3 * p95));
  plot(pending, line("images", "secondary", (interval) => interval.pending));
  showSizes();
}

function showSizes() {
  const counts = [...history.batchSizes(model.value)];
  while (counts.length > 1 && !counts[counts.length - 1][1]) counts.pop();
  const points = counts.map(([, count], i) => /** @type {[number, number]} */ ([i, count]));
  const x = linearScale(-0.6, points.length - 0.4, points.map(([i]) => i));
  const xText = (/** @type {number} */ i) => (counts[i]?.[0] === Infinity ? "more" : String(counts[i]?.[0]));
  sizes.show({ x, y: zeroBasedScale(points.map(([, y]) => y)), series: [{ name: "calls", style: "primary", points }], bars: true, xText });
}

pause.addEventListener("click", () => {
  const paused = page.dataset.state === "running";
  page.dataset.state = paused ? "paused" : "running";
  pause.setAttribute("aria-pressed", String(paused));
  if (!paused) poll();
});
model.addEventListener("change", show);
addApiKeyForm(poll);
show();
poll();
setInterval(() => document.hidden || page.dataset.state === "paused" || poll(), SECOND);
