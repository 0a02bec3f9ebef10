/** Line or bar chart with a legend: an SVG that is redrawn when its width changes, so that text keeps its size. */

import { element } from "./elements.js";
import { shortNumber } from "./scales.js";

/**
 * @typedef {import("./scales.js").Scale} Scale
 * @typedef {{name: string, style: string, points: [x: number, y: number][]}} Series  `style`: a class of chart.css
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

  /** @param {string} title @param {string} axes  description of the axes */
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
    this.#legend.replaceChildren(...content.series.map(({ name, style }) => element("li", { class: style }, name)));
    this.#draw();
  }

  #draw() {
    const width = this.#box.clientWidth;
    if (!width || !this.#content) return;
    const { x, y, series, xText = shortNumber, bars = false, dots = true } = this.#content;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const left = (/** @type {number} */ value) => MARGIN.left + x.position(value) * inner.width;
    const top = (/** @type {number} */ value) => MARGIN.top + (1 - y.position(value)) * inner.height;
    const svg = svgElement("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": this.#description() });
    for (const tick of y.ticks) {
      svg.append(svgElement("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: top(tick), y2: top(tick) }));
      svg.append(svgText(shortNumber(tick), { x: MARGIN.left - 8, y: top(tick) + 4, "text-anchor": "end" }));
    }
    for (const tick of x.ticks) svg.append(svgText(xText(tick), { x: left(tick), y: HEIGHT - 8, "text-anchor": "middle" }));
    for (const { style, points } of series) {
      if (bars) svg.append(...this.#bars(style, points, left, top, inner.width));
      else svg.append(...this.#line(style, points, left, top, dots, xText));
    }
    this.#box.replaceChildren(svg);
  }

  /**
   * @param {string} style @param {[number, number][]} points @param {(x: number) => number} left @param {(y: number) => number} top
   * @param {boolean} dots @param {(value: number) => string} xText
   */
  #line(style, points, left, top, dots, xText) {
    const path = points.map(([x, y], i) => `${i ? "L" : "M"}${left(x).toFixed(1)} ${top(y).toFixed(1)}`).join("");
    const markers = dots
      ? points.map(([x, y]) => {
          const marker = svgElement("circle", { class: style, cx: left(x), cy: top(y), r: 4 });
          const title = svgElement("title", {});
          title.textContent = `${xText(x)}: ${shortNumber(y)}`;
          marker.append(title);
          return marker;
        })
      : [];
    return [svgElement("path", { class: `line ${style}`, d: path }), ...markers];
  }

  /**
   * @param {string} style @param {[number, number][]} points @param {(x: number) => number} left @param {(y: number) => number} top
   * @param {number} plotWidth
   */
  #bars(style, points, left, top, plotWidth) {
    const width = Math.min(42, (0.7 * plotWidth) / Math.max(1, points.length));
    return points.map(([x, y]) =>
      svgElement("rect", { class: style, x: left(x) - width / 2, y: top(y), width, height: Math.max(0, top(0) - top(y)), rx: 2 }),
    );
  }

  #description() {
    const parts = (this.#content?.series ?? []).map(({ name, points }) => {
      const last = points[points.length - 1];
      return last ? `${name}: ${shortNumber(last[1])} (latest)` : `${name}: no data`;
    });
    return `${this.title}. ${parts.join("; ")}`;
  }
}

/** @param {string} name @param {Record<string, string | number>} attributes */
function svgElement(name, attributes) {
  const result = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) result.setAttribute(key, String(value));
  return result;
}

/** @param {string} content @param {Record<string, string | number>} attributes */
function svgText(content, attributes) {
  const result = svgElement("text", attributes);
  result.textContent = content;
  return result;
}
