/** Split images into requests that are small enough to be accepted and to show progress. */

/** @typedef {import("./api.js").InputImage} InputImage */

const MAX_IMAGES = 16;
const MAX_BYTES = 16 * 2 ** 20;

/** Chunks in the given order; an image above the size limit is a chunk of its own. @param {InputImage[]} images */
export function requestChunks(images) {
  /** @type {InputImage[][]} */
  const chunks = [];
  let bytes = Infinity;
  for (const image of images) {
    bytes += image.blob.size;
    const last = chunks[chunks.length - 1];
    if (last && last.length < MAX_IMAGES && bytes <= MAX_BYTES) last.push(image);
    else {
      chunks.push([image]);
      bytes = image.blob.size;
    }
  }
  return chunks;
}
