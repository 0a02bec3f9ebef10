/** Metrics history: snapshots of the last minutes, and rates between consecutive ones. No DOM. */

import { bucketDifference, quantile, Snapshot } from "./prometheus.js";

/**
 * @typedef {import("./prometheus.js").Sample} Sample
 * @typedef {{
 *   time: number, pending: number, requests: number, images: number, errors: number,
 *   p50: number | null, p95: number | null, batch: number | null,
 * }} Interval  time of its end in ms; rates per second, latencies in seconds; null without counts
 */

export class MetricsHistory {
  /** @type {{samples: Sample[], time: number}[]} */
  #snapshots = [];
  #span;

  /** @param {number} span  length in ms */
  constructor(span) {
    this.#span = span;
  }

  /** @param {Sample[]} samples @param {number} time  in ms */
  add(samples, time) {
    this.#snapshots.push({ samples, time });
    while (time - this.#snapshots[0].time > this.#span) this.#snapshots.shift();
  }

  /** Names of all models with metrics. @returns {string[]} */
  get models() {
    const { samples } = this.#snapshots[this.#snapshots.length - 1] ?? { samples: [] };
    return [...new Set(samples.flatMap(({ labels }) => labels.model ?? []))];
  }

  /** @param {string} model  "" for all @returns {Interval[]} */
  intervals(model) {
    const snapshots = this.#of(model);
    return snapshots.slice(1).map((now, i) => interval(snapshots[i], now));
  }

  /** Model calls by batch size over the whole history: upper bound -> count. @param {string} model */
  batchSizes(model) {
    const snapshots = this.#of(model);
    const [first, last] = [snapshots[0], snapshots[snapshots.length - 1]];
    return last ? bucketDifference(first.buckets("tessella_batch_size"), last.buckets("tessella_batch_size")) : new Map();
  }

  /** @param {string} model */
  #of(model) {
    return this.#snapshots.map(({ samples, time }) => new Snapshot(samples, model, time));
  }
}

/** @param {Snapshot} before @param {Snapshot} now @returns {Interval} */
function interval(before, now) {
  const seconds = (now.time - before.time) / 1000;
  const increase = (/** @type {string} */ name) => Math.max(0, now.sum(name) - before.sum(name));
  const latencies = bucketDifference(before.buckets("tessella_request_seconds"), now.buckets("tessella_request_seconds"));
  const calls = increase("nv_inference_exec_count");
  return {
    time: now.time,
    pending: now.sum("nv_inference_pending_request_count"),
    requests: increase("nv_inference_request_success") / seconds,
    images: increase("nv_inference_count") / seconds,
    errors: increase("nv_inference_request_failure") / seconds,
    p50: quantile(latencies, 0.5),
    p95: quantile(latencies, 0.95),
    batch: calls ? increase("nv_inference_count") / calls : null,
  };
}
