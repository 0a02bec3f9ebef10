/** Charts and table of one run, or of two compared. */

import { Chart } from "./chart.js";
import { byId, element } from "./elements.js";
import { logScale, zeroBasedScale } from "./scales.js";

/**
 * @typedef {import("./chart.js").Series} Series
 * @typedef {import("./runs.js").Row} Row
 * @typedef {import("./runs.js").Run} Run
 */

export class RunView {
  #latency = new Chart("Latency", "ms per model call, by batch size");
  #throughput = new Chart("Throughput", "images per second, by batch size");
  #summary = byId("run-summary", HTMLParagraphElement);
  #table = byId("table", HTMLTableElement);

  constructor() {
    byId("charts", HTMLDivElement).append(this.#latency.element, this.#throughput.element);
  }

  /** @param {Run | undefined} run @param {Run | undefined} other */
  show(run, other) {
    this.#summary.textContent = run ? summaryOf(run) : "\u00a0";
    const latency = [
      line(run, "primary", "", ({ p50_ms: y }) => y),
      line(run, "primary-p95", ", 95th percentile", ({ p95_ms: y }) => y),
      line(run, "baseline", ", eager PyTorch", ({ eager_p50_ms: y }) => y),
      line(other, "secondary", "", ({ p50_ms: y }) => y),
    ];
    const throughput = [
      line(run, "primary", "", ({ images_per_second: y }) => y),
      line(run, "baseline", ", eager PyTorch", ({ eager_images_per_second: y }) => y),
      line(other, "secondary", "", ({ images_per_second: y }) => y),
    ];
    draw(this.#latency, latency);
    draw(this.#throughput, throughput);
    this.#table.replaceChildren(...(run?.rows.length ? table(run, other) : [element("caption", {}, "No results yet.")]));
  }
}

/** @param {Chart} chart @param {Series[]} series */
function draw(chart, series) {
  const visible = series.filter(({ points }) => points.length);
  const points = visible.flatMap((line) => line.points);
  chart.show({ x: logScale(points.length ? points.map(([x]) => x) : [1, 2, 4, 8]), y: zeroBasedScale(points.map(([, y]) => y)), series: visible });
}

/** @param {Run | undefined} run @param {string} style @param {string} suffix @param {(row: Row) => number | null} value @returns {Series} */
function line(run, style, suffix, value) {
  const points = sorted(run).flatMap((row) => {
    const y = value(row);
    return y === null ? [] : [/** @type {[number, number]} */ ([row.batch_size, y])];
  });
  return { name: run ? `${run.model}${suffix}` : "", style, points };
}

/** @param {Run | undefined} run */
function sorted(run) {
  return [...(run?.rows ?? [])].sort((a, b) => a.batch_size - b.batch_size);
}

/** @param {Run} run */
function summaryOf({ model, backend, device, dtype, matrix_rate: rate, difference, state, error }) {
  const [unit, name] = (rate ?? 0) < 1e12 ? [1e9, "GFLOP/s"] : [1e12, "TFLOP/s"];
  const matrixRate = rate && `matrix product: ${(rate / unit).toPrecision(3)} ${name}`;
  const deviation = difference !== null && `logits differ from eager PyTorch by ${difference.toExponential(0)} (relative RMS)`;
  const end = error ? `failed: ${error}` : state === "cancelled" && "cancelled";
  return [`${model} on ${backend}, ${device}, ${dtype}`, matrixRate, deviation, end].filter(Boolean).join(" · ");
}

/** @param {Run} run @param {Run | undefined} other */
function table(run, other) {
  const eager = run.rows.some(({ speedup }) => speedup !== null);
  const headings = ["Batch size", "p50", "p95", "p99", "Spread", "Images/s", "Roofline"];
  if (eager) headings.push("Eager p50", "Ratio");
  if (other) headings.push("Other p50", "Ratio");
  const rows = sorted(run).map((row) => {
    const same = other?.rows.find(({ batch_size: size }) => size === row.batch_size);
    const cells = [row.batch_size, ms(row.p50_ms), ms(row.p95_ms), ms(row.p99_ms), percent(100 * row.spread)];
    cells.push(Math.round(row.images_per_second).toLocaleString("en"), percent(row.roofline_percent));
    if (eager) cells.push(ms(row.eager_p50_ms), times(row.speedup));
    if (other) cells.push(ms(same?.p50_ms ?? null), times(same ? same.p50_ms / row.p50_ms : null));
    const [first, ...rest] = cells.map(String);
    return element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((cell) => element("td", {}, cell)));
  });
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  return [element("thead", {}, head), element("tbody", {}, ...rows)];
}

/** @param {number | null} value */
function ms(value) {
  return value === null ? "–" : `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`;
}

/** @param {number | null} value */
function percent(value) {
  return value === null ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

/** @param {number | null} value */
function times(value) {
  return value === null ? "–" : `${value.toFixed(2)} ×`;
}
