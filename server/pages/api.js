/** HTTP client of the service: served models and classification. No DOM. */

import { apiKey } from "./api-key.js";

/**
 * @typedef {{label: string, index: number, score: number}} Prediction
 * @typedef {{decode: number, queue: number, inference: number, total: number}} Timings  in ms
 * @typedef {{method: string, grid: [rows: number, columns: number], values: number[][][]}} Explanation  values by layer
 * @typedef {{
 *   predictions: Prediction[], timings: Timings, batchSize: number, roundTrip: number, explanation?: Explanation,
 * }} Success
 * @typedef {{title: string, message: string, kind: string}} Failure
 * @typedef {Success | Failure} Result
 * @typedef {{
 *   name: string, state: "loading" | "ready" | "failed" | "unloaded", versions?: number[], choice: string | null, family: string | null, parameters: number | null,
 *   config: {image_size: number, patch_size: number, sub_patch_size?: number} | null, labels: string[] | null,
 *   preprocessing: {size: number, resize: number, mode: "shortest" | "squash"} | null,
 *   backend: string | null, device: string | null, dtype: string | null, max_batch_size: number | null,
 * }} Model
 * @typedef {{name: string, blob: Blob}} InputImage
 */

const ROOT = new URL("..", import.meta.url);
const LARGE_BODY_BYTES = 16 * 2 ** 20;

/** Error titles by HTTP status, shown above the server's message; 0: no response. @type {Record<number, string>} */
const TITLES = {
  0: "Server unreachable",
  401: "API key required",
  403: "Not allowed",
  404: "Not found",
  413: "Too large",
  429: "Server busy",
  503: "Not ready",
  504: "Timed out",
};

/** Error response; `status` is 0 if there was no response. */
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
 * Absolute URL of a route, relative to the path that the service is mounted at.
 *
 * @param {string} path
 * @param {Record<string, string | number>} [query]
 */
export function routeUrl(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return url.href;
}

/** @returns {Promise<{default: string, models: Model[]}>} */
export async function listModels() {
  return (await request(routeUrl("models"), { cache: "no-store" })).json();
}

/**
 * Classify images: one result per image, in order; an image that cannot be decoded is a Failure at its index.
 *
 * @param {string} model
 * @param {InputImage[]} images
 * @param {{topK: number, signal: AbortSignal, explain?: string}} options
 * @returns {Promise<Result[]>}
 * @throws {ApiError} the request as a whole failed
 */
export async function classify(model, images, { topK, signal, explain = "" }) {
  const started = performance.now();
  const url = routeUrl("classify", { model, top_k: topK, ...(explain && { explain }) });
  const response = await request(url, { method: "POST", signal, ...body(images) });
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
  return { title: title ?? (kind === "too_large" ? TITLES[413] : "Classification failed"), message, kind };
}

/** Request body: the file itself for one image, a multipart form for several. @param {InputImage[]} images @returns {RequestInit} */
function body(images) {
  if (images.length === 1) {
    const { blob } = images[0];
    return { body: blob, headers: { "content-type": blob.type || "application/octet-stream" } };
  }
  const form = new FormData();
  for (const { name, blob } of images) form.append("image", blob, name);
  return { body: form };
}

/**
 * @param {string} url
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 * @throws {ApiError} error response, or none
 */
export async function request(url, options = {}) {
  const headers = { ...apiKey.headers, ...options.headers };
  const response = await fetch(url, { ...options, headers }).catch((error) => noResponse(error, options));
  if (response.ok) return response;
  if (response.status === 401) apiKey.reject();
  const { error, error_type: kind } = await response.json().catch(() => ({}));
  throw new ApiError(response.status, error ?? `HTTP status ${response.status}`, kind ?? "");
}

/**
 * Find out why there is no response. The browser reports the same error if the server is unreachable, if it closed the
 * connection while receiving a large body, and if the browser could not read the file.
 *
 * @param {Error} error
 * @param {RequestInit} options
 * @returns {Promise<never>}
 */
async function noResponse(error, options) {
  if (error.name === "AbortError") throw error;
  if (options.body && (await fetch(routeUrl("healthz")).catch(() => null))?.ok) {
    const size = options.body instanceof Blob ? options.body.size : 0;
    if (size > LARGE_BODY_BYTES) throw new ApiError(413, `the server rejected the file: ${megabytes(size)} is too much`, "too_large");
    throw new ApiError(400, "the browser could not read or send this file", "unsent");
  }
  throw new ApiError(0, `no response from ${new URL(ROOT).host}; is “tessella serve” running?`, "unreachable");
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${Math.round(bytes / 2 ** 20)} MB`;
}
