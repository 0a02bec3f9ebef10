/** The curl command below the answer, to be copied, and the image that goes with it, to be saved. */

import { curlCommands } from "./curl.js";
import { download } from "./download.js";
import { byId } from "./elements.js";

/** @typedef {import("./api.js").Picture} Picture */

const SHOWN_FOR = 1500;
/** @type {Picture} */
const EXAMPLE = { name: "drawing.png", blob: new Blob([], { type: "image/png" }) };

export class Command {
  #text = byId("curl", HTMLPreElement);
  #copy = byId("copy", HTMLButtonElement);
  #save = byId("save", HTMLButtonElement);
  /** @type {Picture | null} */
  #picture = null;

  constructor() {
    this.#copy.addEventListener("click", () => this.#copyText());
    this.#save.addEventListener("click", () => this.#savePicture());
  }

  /**
   * @param {Picture[]} pictures
   * @param {string[]} models
   * @param {number} topK
   * @param {Picture | null} drawn  a picture that is no file yet
   */
  show(pictures, models, topK, drawn) {
    this.#text.textContent = curlCommands(pictures.length ? pictures : [EXAMPLE], models, topK);
    this.#picture = drawn;
    this.#save.disabled = drawn === null;
  }

  async #copyText() {
    try {
      await navigator.clipboard.writeText(this.#text.textContent ?? "");
      this.#copy.textContent = "Copied";
    } catch {
      // without HTTPS a browser gives pages no clipboard except on localhost: select the text for the reader's own keys
      getSelection()?.selectAllChildren(this.#text);
      this.#copy.textContent = "Selected";
    }
    setTimeout(() => (this.#copy.textContent = "Copy"), SHOWN_FOR);
  }

  #savePicture() {
    if (!this.#picture) return;
    download(this.#picture.blob, this.#picture.name);
  }
}
