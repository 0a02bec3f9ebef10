/** Lines or bars over two axes, as an SVG that keeps its text legible at every width, with a legend beside it. */

import { element } from "./elements.js";
import { short } from "./ticks.js";

/**
 * @typedef {import("./ticks.js").Scale} Scale
 * @typedef {{name: string, look: string, points: [x: number, y: number][]}} Series  `look`: a class of chart.css
 * @typedef {{x: Scale, y: Scale, series: Series[], xText?: (value: number) => string, bars?: boolean, dots?: boolean}} Content
 */

const HEIGHT = 230;
const MARGIN = { top: 12, right: 14, bottom: 26, left: 44 };
const SVG = "http://www.w3.org/2000/svg";

export class Chart {
  #box = element("div", { class: "plot" });
  #legend = element("ul", { class: "legend" });
  /** @type {Content | null} */
  #content = null;

  /** @param {string} title @param {string} axes  what they are, in words */
  constructor(title, axes) {
    this.title = title;
    this.element = element(
      "figure",
      { class: "chart" },
      element("figcaption", {}, element("h3", {}, title), element("span", { class: "muted" }, axes)),
      this.#box,
      this.#legend,
    );
    new ResizeObserver(() => this.#draw()).observe(this.#box);
  }

  /** @param {Content} content */
  show(content) {
    this.#content = content;
    this.#legend.hidden = content.series.length < 2;
    this.#legend.replaceChildren(...content.series.map(({ name, look }) => element("li", { class: look }, name)));
    this.#draw();
  }

  #draw() {
    const width = this.#box.clientWidth;
    if (!width || !this.#content) return;
    const { x, y, series, xText = short, bars = false, dots = true } = this.#content;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const left = (/** @type {number} */ value) => MARGIN.left + x.at(value) * inner.width;
    const top = (/** @type {number} */ value) => MARGIN.top + (1 - y.at(value)) * inner.height;
    const svg = node("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": this.#inWords() });
    for (const tick of y.ticks) {
      svg.append(node("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: top(tick), y2: top(tick) }));
      svg.append(text(short(tick), { x: MARGIN.left - 8, y: top(tick) + 4, "text-anchor": "end" }));
    }
    for (const tick of x.ticks) svg.append(text(xText(tick), { x: left(tick), y: HEIGHT - 8, "text-anchor": "middle" }));
    for (const { look, points } of series) {
      if (bars) svg.append(...this.#bars(look, points, left, top, inner.width));
      else svg.append(...this.#line(look, points, left, top, dots, xText));
    }
    this.#box.replaceChildren(svg);
  }

  /**
   * @param {string} look @param {[number, number][]} points @param {(x: number) => number} left @param {(y: number) => number} top
   * @param {boolean} dots @param {(value: number) => string} xText
   */
  #line(look, points, left, top, dots, xText) {
    const path = points.map(([x, y], i) => `${i ? "L" : "M"}${left(x).toFixed(1)} ${top(y).toFixed(1)}`).join("");
    const marks = dots
      ? points.map(([x, y]) => {
          const mark = node("circle", { class: look, cx: left(x), cy: top(y), r: 4 });
          const title = node("title", {});
          title.textContent = `${xText(x)}: ${short(y)}`;
          mark.append(title);
          return mark;
        })
      : [];
    return [node("path", { class: `line ${look}`, d: path }), ...marks];
  }

  /**
   * @param {string} look @param {[number, number][]} points @param {(x: number) => number} left @param {(y: number) => number} top
   * @param {number} room
   */
  #bars(look, points, left, top, room) {
    const width = Math.min(42, (0.7 * room) / Math.max(1, points.length));
    return points.map(([x, y]) =>
      node("rect", { class: look, x: left(x) - width / 2, y: top(y), width, height: Math.max(0, top(0) - top(y)), rx: 2 }),
    );
  }

  #inWords() {
    const parts = (this.#content?.series ?? []).map(({ name, points }) => {
      const last = points[points.length - 1];
      return last ? `${name}: ${short(last[1])} at the end` : `${name}: nothing yet`;
    });
    return `${this.title}. ${parts.join("; ")}`;
  }
}

/** @param {string} name @param {Record<string, string | number>} attributes */
function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** @param {string} content @param {Record<string, string | number>} attributes */
function text(content, attributes) {
  const made = node("text", attributes);
  made.textContent = content;
  return made;
}
