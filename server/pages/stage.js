/** The square on the left: the sheet to draw on, or the picture that was given. */

import { Drawing } from "./canvas.js";
import { byId } from "./elements.js";

/** @typedef {import("./api.js").Model} Model */

const MOST_LABELS = 12;

/** Fires `clear` when the drawing or the picture is to go, and passes on the drawing's `start` and `change`. */
export class Stage extends EventTarget {
  drawing = new Drawing(byId("paper", HTMLCanvasElement));
  #picture = byId("picture", HTMLImageElement);
  #invitation = byId("invitation", HTMLDivElement);
  #undo = byId("undo", HTMLButtonElement);
  #clear = byId("clear", HTMLButtonElement);

  constructor() {
    super();
    this.drawing.addEventListener("start", () => {
      this.#invitation.hidden = true;
      this.dispatchEvent(new Event("start"));
    });
    this.drawing.addEventListener("change", () => {
      this.#update();
      this.dispatchEvent(new Event("change"));
    });
    this.#undo.addEventListener("click", () => this.drawing.undo());
    this.#clear.addEventListener("click", () => this.dispatchEvent(new Event("clear")));
    addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key === "z" && !this.showsPicture) this.drawing.undo();
    });
    this.#picture.addEventListener("error", () => this.#picture.classList.add("unseen"));
    this.#takePen(byId("pen", HTMLInputElement));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#retheme());
    this.#update();
  }

  get showsPicture() {
    return !this.#picture.hidden;
  }

  /** @param {{name: string, blob: Blob} | null} picture  null: back to the sheet */
  show(picture) {
    URL.revokeObjectURL(this.#picture.src);
    this.#picture.classList.remove("unseen");
    this.#picture.hidden = picture === null;
    if (picture) {
      this.#picture.src = URL.createObjectURL(picture.blob);
      this.#picture.alt = picture.name;
    } else this.#picture.removeAttribute("src");
    this.#update();
  }

  /** What can be recognised, in the labels' own words. @param {Model[]} models */
  invite(models) {
    const labels = [...new Set(models.flatMap((model) => model.labels ?? []))];
    const some = labels.slice(0, MOST_LABELS).join(labels.every((label) => label.length < 3) ? " " : ", ");
    const text = labels.length > MOST_LABELS ? `${labels.length.toLocaleString("en")} classes, such as ${labels[0]}` : some;
    byId("known", HTMLParagraphElement).textContent = text || "\u00a0";
  }

  /** The sheet in other colours is another image. */
  #retheme() {
    this.drawing.redraw();
    if (!this.showsPicture) this.dispatchEvent(new Event("change"));
  }

  #update() {
    this.#invitation.hidden = this.showsPicture || !this.drawing.isEmpty;
    this.#undo.disabled = this.showsPicture || !this.drawing.canUndo;
    this.#clear.disabled = !this.showsPicture && this.drawing.isEmpty;
  }

  /** @param {HTMLInputElement} pen  a slider in hundredths of the sheet */
  #takePen(pen) {
    const take = () => (this.drawing.width = Number(pen.value) / 100);
    pen.addEventListener("input", take);
    take();
  }
}
