/** A sheet of paper to draw on. Strokes are kept as paths in units of the sheet, so that it can be any size. */

/**
 * @typedef {[x: number, y: number]} Point  0..1, from the upper left
 * @typedef {{width: number, points: Point[]}} Stroke  width in units of the sheet
 */

const LARGEST_SIDE = 1024;

/** Fires `start` when a stroke begins, `change` when the drawing has become another one. */
export class Drawing extends EventTarget {
  /** Pen width in units of the sheet. */
  width = 0.065;
  /** Every state of the drawing, oldest first; undo goes back in it. @type {Stroke[][]} */
  #history = [[]];
  /** @type {Stroke | null} */
  #stroke = null;
  #pointer = -1;
  #ink = "";
  #paper = "";

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#extend(event));
    canvas.addEventListener("pointerup", (event) => this.#end(event));
    canvas.addEventListener("pointercancel", (event) => this.#end(event));
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  /** @returns {Stroke[]} */
  get strokes() {
    return this.#history[this.#history.length - 1];
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  get canUndo() {
    return this.#history.length > 1;
  }

  undo() {
    if (!this.canUndo) return;
    this.#history.pop();
    this.#changed();
  }

  /** An empty sheet; undo brings the strokes back. */
  clear() {
    if (this.isEmpty) return;
    this.#history.push([]);
    this.#changed();
  }

  /** Everything again: in the colours of the theme, at the size and density that the sheet has now. */
  redraw() {
    const side = Math.min(LARGEST_SIDE, Math.round(this.canvas.clientWidth * devicePixelRatio));
    if (side === 0) return;
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const style = getComputedStyle(this.canvas);
    this.#ink = style.getPropertyValue("--ink");
    this.#paper = style.getPropertyValue("--paper");
    this.context.fillStyle = this.#paper;
    this.context.fillRect(0, 0, side, side);
    for (const stroke of [...this.strokes, ...(this.#stroke ? [this.#stroke] : [])]) this.#paint(stroke);
  }

  /**
   * What is seen, as an opaque PNG. Not by `toBlob`: Chromium lets that wait for an idle moment, for up to a second.
   */
  toBlob() {
    const base64 = this.canvas.toDataURL("image/png").split(",")[1];
    return new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], { type: "image/png" });
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    if (this.#stroke || event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#stroke = { width: this.width, points: [this.#point(event)] };
    this.#paint(this.#stroke);
    this.dispatchEvent(new Event("start"));
  }

  /** @param {PointerEvent} event */
  #extend(event) {
    if (!this.#stroke || event.pointerId !== this.#pointer) return;
    const { points } = this.#stroke;
    const first = Math.max(0, points.length - 2);
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) points.push(this.#point(move));
    this.#paint({ ...this.#stroke, points: points.slice(first) }, first > 0);
  }

  /** @param {PointerEvent} event */
  #end(event) {
    if (!this.#stroke || event.pointerId !== this.#pointer) return;
    this.#history.push([...this.strokes, this.#stroke]);
    this.#stroke = null;
    this.#changed();
  }

  #changed() {
    this.redraw();
    this.dispatchEvent(new Event("change"));
  }

  /** @param {PointerEvent} event @returns {Point} */
  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  /**
   * Quadratic curves through the midpoints, with the points as their control points.
   *
   * @param {Stroke} stroke
   * @param {boolean} [continued] it goes on from the middle of its first two points, where the last piece ended
   */
  #paint({ width, points }, continued = false) {
    const { context } = this;
    const side = this.canvas.width;
    const at = points.map(([x, y]) => [x * side, y * side]);
    const middle = (/** @type {number} */ i) => [(at[i - 1][0] + at[i][0]) / 2, (at[i - 1][1] + at[i][1]) / 2];
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width * side;
    context.strokeStyle = this.#ink;
    context.beginPath();
    const [startX, startY] = continued && at.length > 1 ? middle(1) : at[0];
    context.moveTo(startX, startY);
    for (let i = continued ? 2 : 1; i < at.length; i++) {
      const [x, y] = middle(i);
      context.quadraticCurveTo(at[i - 1][0], at[i - 1][1], x, y);
    }
    const [endX, endY] = at[at.length - 1];
    // a line of no length would leave no dot
    context.lineTo(endX + (at.length === 1 ? 0.01 : 0), endY);
    context.stroke();
  }
}
