/** Panel with the curl command of the current request; copies the command and saves the drawing that it sends. */

import { curlCommands } from "./curl-command.js";
import { download } from "./download.js";
import { byId } from "./elements.js";

/** @typedef {import("./api.js").InputImage} InputImage */

const FEEDBACK_MS = 1500;
/** @type {InputImage} */
const EXAMPLE = { name: "drawing.png", blob: new Blob([], { type: "image/png" }) };

export class CommandPanel {
  #text = byId("curl", HTMLPreElement);
  #copy = byId("copy", HTMLButtonElement);
  #save = byId("save", HTMLButtonElement);
  /** @type {InputImage | null} */
  #drawing = null;

  constructor() {
    this.#copy.addEventListener("click", () => this.#copyText());
    this.#save.addEventListener("click", () => this.#saveDrawing());
  }

  /**
   * @param {InputImage[]} images
   * @param {string[]} models
   * @param {number} topK
   * @param {InputImage | null} drawing  to be saved, if the image is not a file
   */
  show(images, models, topK, drawing) {
    this.#text.textContent = curlCommands(images.length ? images : [EXAMPLE], models, topK);
    this.#drawing = drawing;
    this.#save.disabled = drawing === null;
  }

  async #copyText() {
    try {
      await navigator.clipboard.writeText(this.#text.textContent ?? "");
      this.#copy.textContent = "Copied";
    } catch {
      // no clipboard access without HTTPS, except on localhost: select the text instead
      getSelection()?.selectAllChildren(this.#text);
      this.#copy.textContent = "Selected";
    }
    setTimeout(() => (this.#copy.textContent = "Copy"), FEEDBACK_MS);
  }

  #saveDrawing() {
    if (!this.#drawing) return;
    download(this.#drawing.blob, this.#drawing.name);
  }
}
