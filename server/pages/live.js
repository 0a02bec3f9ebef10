/** The page Live: looks at the counters every second and shows what came between. */

import { address, request } from "./api.js";
import { Chart } from "./chart.js";
import { byId, element } from "./elements.js";
import { History } from "./history.js";
import { askForKey } from "./keyform.js";
import { Notice } from "./notice.js";
import { readMetrics } from "./prometheus.js";
import { between, fromZero, short } from "./ticks.js";

/** @typedef {import("./history.js").Moment} Moment */

const SECOND = 1000;
const SPAN = 120;

const page = byId("page", HTMLElement);
const model = byId("model", HTMLSelectElement);
const pause = byId("pause", HTMLButtonElement);
const notice = new Notice(look);
const history = new History(SPAN * SECOND);

const NUMBERS = /** @type {[string, (moment: Moment) => number | null, string][]} */ ([
  ["waiting or running", ({ pending }) => pending, "images"],
  ["requests", ({ requests }) => requests, "per second"],
  ["images", ({ images }) => images, "per second"],
  ["errors", ({ errors }) => errors, "per second"],
  ["latency", ({ p50 }) => p50 && 1e3 * p50, "ms, median"],
  ["batch", ({ batch }) => batch, "images on average"],
]);
const values = NUMBERS.map(() => element("dd", { class: "value" }, "–"));
byId("numbers", HTMLDListElement).append(
  ...NUMBERS.map(([name, , unit], i) => element("div", {}, element("dt", {}, name), values[i], element("dd", { class: "muted" }, unit))),
);

const rate = new Chart("Requests", "per second, by seconds ago");
const latency = new Chart("Latency", "ms from admission to answer");
const pending = new Chart("Waiting or running", "images");
const sizes = new Chart("Batch sizes", "model calls with up to so many images");
byId("charts", HTMLDivElement).append(...[rate, latency, pending, sizes].map((chart) => chart.element));

async function look() {
  try {
    const samples = readMetrics(await (await request(address("metrics"), { cache: "no-store" })).text());
    history.add(samples, performance.now());
    notice.hide();
  } catch (error) {
    notice.show(error instanceof Error ? error.message : String(error), true);
    return;
  }
  offerModels();
  show();
}

function offerModels() {
  const names = history.models.filter((name) => ![...model.options].some(({ value }) => value === name));
  model.append(...names.map((name) => element("option", { value: name }, name)));
}

function show() {
  const moments = history.moments(model.value);
  const last = moments[moments.length - 1];
  NUMBERS.forEach(([, of], i) => {
    const value = last ? of(last) : null;
    values[i].textContent = value === null ? "–" : short(value);
  });
  const seconds = moments.length ? (last.at - moments[0].at) / SECOND : 0;
  const quarter = Math.min(SPAN, Math.max(20, 20 * Math.ceil(seconds / 20))) / 4;
  const x = between(-4 * quarter, 0, [4, 3, 2, 1, 0].map((i) => -i * quarter));
  const line = (/** @type {string} */ name, /** @type {string} */ look_, /** @type {(moment: Moment) => number | null} */ of) => ({
    name,
    look: look_,
    points: moments.flatMap((moment) => {
      const y = of(moment);
      return y === null ? [] : [/** @type {[number, number]} */ ([(moment.at - last.at) / SECOND, y])];
    }),
  });
  const plot = (/** @type {Chart} */ chart, /** @type {import("./chart.js").Series[]} */ ...series) =>
    chart.show({ x, y: fromZero(series.flatMap(({ points }) => points.map(([, y]) => y))), series, dots: false, xText: (s) => String(-s) });
  plot(rate, line("answered", "one", ({ requests }) => requests), line("errors", "eager", ({ errors }) => errors));
  plot(latency, line("median", "one", ({ p50 }) => p50 && 1e3 * p50), line("95th percentile", "one-more", ({ p95 }) => p95 && 1e3 * p95));
  plot(pending, line("images", "two", (moment) => moment.pending));
  showSizes();
}

function showSizes() {
  const counts = [...history.batchSizes(model.value)];
  while (counts.length > 1 && !counts[counts.length - 1][1]) counts.pop();
  const points = counts.map(([, count], i) => /** @type {[number, number]} */ ([i, count]));
  const x = between(-0.6, points.length - 0.4, points.map(([i]) => i));
  const xText = (/** @type {number} */ i) => (counts[i]?.[0] === Infinity ? "more" : String(counts[i]?.[0]));
  sizes.show({ x, y: fromZero(points.map(([, y]) => y)), series: [{ name: "calls", look: "one", points }], bars: true, xText });
}

pause.addEventListener("click", () => {
  const paused = page.dataset.state === "running";
  page.dataset.state = paused ? "paused" : "running";
  pause.setAttribute("aria-pressed", String(paused));
  if (!paused) look();
});
model.addEventListener("change", show);
askForKey(look);
show();
look();
setInterval(() => document.hidden || page.dataset.state === "paused" || look(), SECOND);
