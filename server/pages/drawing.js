/** Drawing area. Strokes are kept as paths in units of the canvas side, independent of its size. */

/**
 * @typedef {[x: number, y: number]} Point 0..1, from the top left
 * @typedef {{width: number, points: Point[]}} Stroke  width in units of the canvas side
 */

const MAX_SIDE = 1024;

/** Fires `start` when a stroke begins and `change` when the drawing has changed. */
export class Drawing extends EventTarget {
  /** Pen width in units of the canvas side. */
  width = 0.065;
  /** Undo history: all states of the drawing, oldest first. @type {Stroke[][]} */
  #history = [[]];
  /** @type {Stroke | null} */
  #stroke = null;
  #pointer = -1;
  #ink = "";
  #background = "";

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

  /** Remove all strokes; can be undone. */
  clear() {
    if (this.isEmpty) return;
    this.#history.push([]);
    this.#changed();
  }

  /** Repaint in the current theme, size and pixel density. */
  redraw() {
    const side = Math.min(MAX_SIDE, Math.round(this.canvas.clientWidth * devicePixelRatio));
    if (side === 0) return;
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const style = getComputedStyle(this.canvas);
    this.#ink = style.getPropertyValue("--canvas-ink");
    this.#background = style.getPropertyValue("--canvas-background");
    this.context.fillStyle = this.#background;
    this.context.fillRect(0, 0, side, side);
    for (const stroke of [...this.strokes, ...(this.#stroke ? [this.#stroke] : [])]) this.#paint(stroke);
  }

  /** The drawing as an opaque PNG. `canvas.toBlob` is not used: Chromium may delay it for up to a second. */
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
   * Paint quadratic curves between the midpoints of the points, which are the control points.
   *
   * @param {Stroke} stroke
   * @param {boolean} [continued] start at the midpoint of the first two points, where the previous segment ended
   */
  #paint({ width, points }, continued = false) {
    const { context } = this;
    const side = this.canvas.width;
    const positions = points.map(([x, y]) => [x * side, y * side]);
    const midpoint = (/** @type {number} */ i) => [(positions[i - 1][0] + positions[i][0]) / 2, (positions[i - 1][1] + positions[i][1]) / 2];
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width * side;
    context.strokeStyle = this.#ink;
    context.beginPath();
    const [startX, startY] = continued && positions.length > 1 ? midpoint(1) : positions[0];
    context.moveTo(startX, startY);
    for (let i = continued ? 2 : 1; i < positions.length; i++) {
      const [x, y] = midpoint(i);
      context.quadraticCurveTo(positions[i - 1][0], positions[i - 1][1], x, y);
    }
    const [endX, endY] = positions[positions.length - 1];
    // a line of length zero would not be painted
    context.lineTo(endX + (positions.length === 1 ? 0.01 : 0), endY);
    context.stroke();
  }
}
