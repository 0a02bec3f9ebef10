/** The service over HTTP: what is served, and what an image is. Knows no DOM. */

import { key } from "./key.js";

/**
 * @typedef {{label: string, index: number, score: number}} Prediction
 * @typedef {{decode: number, queue: number, inference: number, total: number}} Timings  in ms
 * @typedef {{method: string, grid: [rows: number, columns: number], values: number[][][]}} Explanation  values by layer
 * @typedef {{
 *   predictions: Prediction[], timings: Timings, batchSize: number, roundTrip: number, explanation?: Explanation,
 * }} Success
 * @typedef {{title: string, message: string, kind: string}} Failure
 * @typedef {Success | Failure} Answer
 * @typedef {{
 *   name: string, state: "loading" | "ready" | "failed" | "unloaded", versions?: number[], choice: string | null, family: string | null, parameters: number | null,
 *   config: {image_size: number, patch_size: number, sub_patch_size?: number} | null, labels: string[] | null,
 *   preprocessing: {size: number, resize: number, mode: "shortest" | "squash"} | null,
 *   backend: string | null, device: string | null, dtype: string | null, max_batch_size: number | null,
 * }} Model
 * @typedef {{name: string, blob: Blob}} Picture
 */

const ROOT = new URL("..", import.meta.url);
const LARGE_BODY = 16 * 2 ** 20;

/** What went wrong, in a few words above the server's own message. @type {Record<number, string>} */
const TITLES = {
  0: "The server does not answer",
  401: "A key is needed",
  403: "Not from here",
  404: "Not served here",
  413: "Too large",
  429: "Too busy right now",
  503: "Not ready yet",
  504: "It took too long",
};

/** An answer that is an error. `status` 0: there was no answer at all. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} kind */
  constructor(status, message, kind) {
    super(message);
    this.status = status;
    this.kind = kind;
  }

  /** @returns {Failure} */
  get failure() {
    return failure(this.message, this.kind, TITLES[this.status]);
  }
}

/**
 * The address of a route, whatever path the service is mounted at.
 *
 * @param {string} path
 * @param {Record<string, string | number>} [query]
 */
export function address(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return url.href;
}

/** @returns {Promise<{default: string, models: Model[]}>} */
export async function listModels() {
  return (await request(address("models"), { cache: "no-store" })).json();
}

/**
 * One answer per picture, in order; a picture that cannot be read is a Failure in its own place.
 *
 * @param {string} model
 * @param {Picture[]} pictures
 * @param {{topK: number, signal: AbortSignal, explain?: string}} options
 * @returns {Promise<Answer[]>}
 * @throws {ApiError} where the request as a whole has no answer
 */
export async function classify(model, pictures, { topK, signal, explain = "" }) {
  const started = performance.now();
  const url = address("classify", { model, top_k: topK, ...(explain && { explain }) });
  const response = await request(url, { method: "POST", signal, ...body(pictures) });
  const { results, batch_sizes: batchSizes, timings_ms: timings } = await response.json();
  const roundTrip = performance.now() - started;
  return results.map((/** @type {any} */ result, /** @type {number} */ index) =>
    result.predictions
      ? { predictions: result.predictions, timings, batchSize: batchSizes[index], roundTrip, explanation: result.explain }
      : failure(result.error, result.error_type),
  );
}

/** @param {string} message @param {string} kind @param {string} [title] @returns {Failure} */
function failure(message, kind, title) {
  return { title: title ?? (kind === "too_large" ? TITLES[413] : "No answer for this image"), message, kind };
}

/** One picture travels as it is, several as a form. @param {Picture[]} pictures @returns {RequestInit} */
function body(pictures) {
  if (pictures.length === 1) {
    const { blob } = pictures[0];
    return { body: blob, headers: { "content-type": blob.type || "application/octet-stream" } };
  }
  const form = new FormData();
  for (const { name, blob } of pictures) form.append("image", blob, name);
  return { body: form };
}

/**
 * @param {string} url
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 * @throws {ApiError} where the answer is an error, or there is none
 */
export async function request(url, options = {}) {
  const headers = { ...key.headers, ...options.headers };
  const response = await fetch(url, { ...options, headers }).catch((error) => unanswered(error, options));
  if (response.ok) return response;
  if (response.status === 401) key.refuse();
  const { error, error_type: kind } = await response.json().catch(() => ({}));
  throw new ApiError(response.status, error ?? `status ${response.status} without a message`, kind ?? "");
}

/**
 * A browser says the same of a server that is gone, of one that closed the connection on a large body, and of a file that
 * it cannot read itself: ask whether the server is there.
 *
 * @param {Error} error
 * @param {RequestInit} options
 * @returns {Promise<never>}
 */
async function unanswered(error, options) {
  if (error.name === "AbortError") throw error;
  if (options.body && (await fetch(address("healthz")).catch(() => null))?.ok) {
    const size = options.body instanceof Blob ? options.body.size : 0;
    if (size > LARGE_BODY) throw new ApiError(413, `the server did not read all of this file’s ${megabytes(size)}`, "too_large");
    throw new ApiError(400, "the browser could not read or send this file", "unsent");
  }
  throw new ApiError(0, `nothing answers at ${new URL(ROOT).host}; is “tessella serve” running?`, "unreachable");
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${Math.round(bytes / 2 ** 20)} MB`;
}
