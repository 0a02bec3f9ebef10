/** Many pictures -> several requests, each small enough to be accepted and to show progress. */

/** @typedef {import("./api.js").Picture} Picture */

const MOST_PICTURES = 16;
const MOST_BYTES = 16 * 2 ** 20;

/** In the order given; a picture that is larger than a request should be travels alone. @param {Picture[]} pictures */
export function inRequests(pictures) {
  /** @type {Picture[][]} */
  const requests = [];
  let bytes = Infinity;
  for (const picture of pictures) {
    bytes += picture.blob.size;
    const last = requests[requests.length - 1];
    if (last && last.length < MOST_PICTURES && bytes <= MOST_BYTES) last.push(picture);
    else {
      requests.push([picture]);
      bytes = picture.blob.size;
    }
  }
  return requests;
}
