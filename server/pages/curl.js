/** The same question from a terminal. */

import { address } from "./api.js";
import { key } from "./key.js";
import { inRequests } from "./requests.js";

/** @typedef {import("./api.js").Picture} Picture */

/**
 * One command per model and request.
 *
 * @param {Picture[]} pictures
 * @param {string[]} models
 * @param {number} topK
 */
export function curlCommands(pictures, models, topK) {
  return models
    .flatMap((model) =>
      inRequests(pictures).map((part) => `curl ${data(part)} ${credentials()}${quoted(address("classify", { model, top_k: topK }))}`),
    )
    .join("\n");
}

/** Not the key itself: what is shown may be photographed. */
function credentials() {
  return key.value ? '-H "x-api-key: $KEY" ' : "";
}

/** @param {Picture[]} pictures */
function data(pictures) {
  if (pictures.length > 1) {
    return pictures.map(({ name }) => `-F ${quoted(`image=@${formName(name)}`)}`).join(" ");
  }
  const { name, blob } = pictures[0];
  const type = blob.type || "application/octet-stream";
  return `--data-binary ${quoted(`@${name}`)} -H ${quoted(`content-type: ${type}`)}`;
}

/** curl's form syntax gives `,` and `;` a meaning unless the name is in double quotes. @param {string} name */
function formName(name) {
  return /[,;"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

/** For a POSIX shell. @param {string} text */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
