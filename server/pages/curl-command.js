/** curl commands equivalent to the page's classification requests. */

import { routeUrl } from "./api.js";
import { apiKey } from "./api-key.js";
import { requestChunks } from "./request-chunks.js";

/** @typedef {import("./api.js").InputImage} InputImage */

/**
 * One command per model and request.
 *
 * @param {InputImage[]} images
 * @param {string[]} models
 * @param {number} topK
 */
export function curlCommands(images, models, topK) {
  return models
    .flatMap((model) =>
      requestChunks(images).map((part) => `curl ${data(part)} ${credentials()}${quoted(routeUrl("classify", { model, top_k: topK }))}`),
    )
    .join("\n");
}

/** Header with a placeholder for the API key, so that the key itself is not shown on screen. */
function credentials() {
  return apiKey.value ? '-H "x-api-key: $KEY" ' : "";
}

/** @param {InputImage[]} images */
function data(images) {
  if (images.length > 1) {
    return images.map(({ name }) => `-F ${quoted(`image=@${formName(name)}`)}`).join(" ");
  }
  const { name, blob } = images[0];
  const type = blob.type || "application/octet-stream";
  return `--data-binary ${quoted(`@${name}`)} -H ${quoted(`content-type: ${type}`)}`;
}

/** File name in curl's form syntax, where `,` and `;` must be in double quotes. @param {string} name */
function formName(name) {
  return /[,;"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

/** Text quoted for a POSIX shell. @param {string} text */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
