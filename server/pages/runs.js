/** Benchmark runs of the service: its history and the current run. No DOM. */

import { request, routeUrl } from "./api.js";
import { serverEvents } from "./sse.js";

/**
 * @typedef {{
 *   batch_size: number, iterations: number, first_ms: number, p50_ms: number, p95_ms: number, p99_ms: number,
 *   spread: number, images_per_second: number, roofline_percent: number | null,
 *   eager_p50_ms: number | null, eager_images_per_second: number | null, speedup: number | null,
 * }} Row
 * @typedef {{
 *   id: string, state: "queued" | "running" | "done" | "cancelled" | "failed", model: string, backend: string,
 *   device: string, dtype: string, created_at: string, seconds: number, stage: string, done: number, total: number,
 *   matrix_rate: number | null, difference: number | null, rows: Row[], error: string | null,
 * }} Run
 */

const RETRY_DELAY = 1500;

/** Fires `change` when a run has changed, and `error` (detail: message) when a request failed. */
export class Runs extends EventTarget {
  /** Newest first. @type {Run[]} */
  all = [];
  /** Whether the history has been received. */
  loaded = false;
  #watching = "";

  /** @returns {Run | undefined} */
  get current() {
    return this.all.find(({ state }) => state === "queued" || state === "running");
  }

  async refresh() {
    try {
      this.all = (await (await request(routeUrl("benchmarks"), { cache: "no-store" })).json()).benchmarks;
      this.loaded = true;
    } catch (error) {
      this.#reportError(error);
      return;
    }
    this.dispatchEvent(new Event("change"));
    if (this.current) this.#watch(this.current.id);
  }

  /** @param {Record<string, unknown>} options @returns {Promise<Run>} @throws {import("./api.js").ApiError} */
  async start(options) {
    const body = JSON.stringify(options);
    const response = await request(routeUrl("benchmarks"), { method: "POST", body, headers: { "content-type": "application/json" } });
    const run = await response.json();
    this.#put(run);
    this.#watch(run.id);
    return run;
  }

  /** @throws {import("./api.js").ApiError} */
  async cancel() {
    if (this.current) await request(routeUrl(`benchmarks/${this.current.id}`), { method: "DELETE" });
  }

  /** Follow a run to its end; reconnect if the connection is lost. @param {string} id */
  async #watch(id) {
    if (this.#watching === id) return;
    this.#watching = id;
    try {
      for await (const { event, data } of serverEvents(routeUrl(`benchmarks/${id}/events`), new AbortController().signal)) {
        const known = this.all.find((run) => run.id === id);
        if (event === "result" && known) this.#put({ ...known, rows: merged(known.rows, data) });
        else this.#put({ ...known, rows: known?.rows ?? [], ...data });
      }
    } catch (error) {
      this.#reportError(error);
    }
    this.#watching = "";
    if (this.current?.id === id) setTimeout(() => this.refresh(), RETRY_DELAY);
  }

  /** @param {Run} run */
  #put(run) {
    const known = this.all.some(({ id }) => id === run.id);
    this.all = known ? this.all.map((other) => (other.id === run.id ? run : other)) : [run, ...this.all];
    this.dispatchEvent(new Event("change"));
  }

  /** @param {unknown} error */
  #reportError(error) {
    this.dispatchEvent(new CustomEvent("error", { detail: error instanceof Error ? error.message : String(error) }));
  }
}

/** @param {Row[]} rows @param {Row} row */
function merged(rows, row) {
  return [...rows.filter(({ batch_size: size }) => size !== row.batch_size), row];
}
