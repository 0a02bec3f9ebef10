/** The counters of the last minutes, and what came between each two looks at them. Knows no DOM. */

import { difference, Look, quantile } from "./prometheus.js";

/**
 * @typedef {import("./prometheus.js").Sample} Sample
 * @typedef {{
 *   at: number, pending: number, requests: number, images: number, errors: number,
 *   p50: number | null, p95: number | null, batch: number | null,
 * }} Moment  rates per second, latencies in seconds; null where nothing was counted
 */

export class History {
  /** @type {{samples: Sample[], at: number}[]} */
  #looks = [];
  #span;

  /** @param {number} span  ms that are kept */
  constructor(span) {
    this.#span = span;
  }

  /** @param {Sample[]} samples @param {number} at  ms */
  add(samples, at) {
    this.#looks.push({ samples, at });
    while (at - this.#looks[0].at > this.#span) this.#looks.shift();
  }

  /** Every model that was counted. @returns {string[]} */
  get models() {
    const { samples } = this.#looks[this.#looks.length - 1] ?? { samples: [] };
    return [...new Set(samples.flatMap(({ labels }) => labels.model ?? []))];
  }

  /** @param {string} model  "" for all together @returns {Moment[]} */
  moments(model) {
    const looks = this.#of(model);
    return looks.slice(1).map((now, i) => moment(looks[i], now));
  }

  /** How many calls had up to so many images, over all that is kept. @param {string} model */
  batchSizes(model) {
    const looks = this.#of(model);
    const [first, last] = [looks[0], looks[looks.length - 1]];
    return last ? difference(first.buckets("tessella_batch_size"), last.buckets("tessella_batch_size")) : new Map();
  }

  /** @param {string} model */
  #of(model) {
    return this.#looks.map(({ samples, at }) => new Look(samples, model, at));
  }
}

/** @param {Look} before @param {Look} now @returns {Moment} */
function moment(before, now) {
  const seconds = (now.at - before.at) / 1000;
  const grown = (/** @type {string} */ name) => Math.max(0, now.sum(name) - before.sum(name));
  const latencies = difference(before.buckets("tessella_request_seconds"), now.buckets("tessella_request_seconds"));
  const calls = grown("nv_inference_exec_count");
  return {
    at: now.at,
    pending: now.sum("nv_inference_pending_request_count"),
    requests: grown("nv_inference_request_success") / seconds,
    images: grown("nv_inference_count") / seconds,
    errors: grown("nv_inference_request_failure") / seconds,
    p50: quantile(latencies, 0.5),
    p95: quantile(latencies, 0.95),
    batch: calls ? grown("nv_inference_count") / calls : null,
  };
}
