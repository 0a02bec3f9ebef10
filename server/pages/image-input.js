/** Image input: the drawing area, or a preview of the selected file. */

import { Drawing } from "./drawing.js";
import { byId } from "./elements.js";

/**
 * @typedef {import("./api.js").InputImage} InputImage
 * @typedef {import("./api.js").Model} Model
 */

const MAX_LABELS = 12;

/** Fires `clear` when the Clear button is pressed, and the drawing's `start` and `change`. */
export class ImageInput extends EventTarget {
  drawing = new Drawing(byId("drawing", HTMLCanvasElement));
  #preview = byId("preview", HTMLImageElement);
  #placeholder = byId("placeholder", HTMLDivElement);
  #undo = byId("undo", HTMLButtonElement);
  #clear = byId("clear", HTMLButtonElement);

  constructor() {
    super();
    this.drawing.addEventListener("start", () => {
      this.#placeholder.hidden = true;
      this.dispatchEvent(new Event("start"));
    });
    this.drawing.addEventListener("change", () => {
      this.#update();
      this.dispatchEvent(new Event("change"));
    });
    this.#undo.addEventListener("click", () => this.drawing.undo());
    this.#clear.addEventListener("click", () => this.dispatchEvent(new Event("clear")));
    addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key === "z" && !this.showsImage) this.drawing.undo();
    });
    this.#preview.addEventListener("error", () => this.#preview.classList.add("broken"));
    this.#bindPenWidth(byId("pen", HTMLInputElement));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#onThemeChange());
    this.#update();
  }

  get showsImage() {
    return !this.#preview.hidden;
  }

  /** @param {InputImage | null} image  null: show the drawing area */
  show(image) {
    URL.revokeObjectURL(this.#preview.src);
    this.#preview.classList.remove("broken");
    this.#preview.hidden = image === null;
    if (image) {
      this.#preview.src = URL.createObjectURL(image.blob);
      this.#preview.alt = image.name;
    } else this.#preview.removeAttribute("src");
    this.#update();
  }

  /** Name the classes of the models in the placeholder. @param {Model[]} models */
  showClasses(models) {
    const labels = [...new Set(models.flatMap((model) => model.labels ?? []))];
    const names = labels.slice(0, MAX_LABELS).join(labels.every((label) => label.length < 3) ? " " : ", ");
    const text = labels.length > MAX_LABELS ? `${labels.length.toLocaleString("en")} classes, such as ${labels[0]}` : names;
    byId("class-names", HTMLParagraphElement).textContent = text || "\u00a0";
  }

  /** The drawing in other colours is another image, which is classified again. */
  #onThemeChange() {
    this.drawing.redraw();
    if (!this.showsImage) this.dispatchEvent(new Event("change"));
  }

  #update() {
    this.#placeholder.hidden = this.showsImage || !this.drawing.isEmpty;
    this.#undo.disabled = this.showsImage || !this.drawing.canUndo;
    this.#clear.disabled = !this.showsImage && this.drawing.isEmpty;
  }

  /** @param {HTMLInputElement} pen  slider in hundredths of the canvas side */
  #bindPenWidth(pen) {
    const update = () => (this.drawing.width = Number(pen.value) / 100);
    pen.addEventListener("input", update);
    update();
  }
}
