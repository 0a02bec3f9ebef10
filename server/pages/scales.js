/** Chart scales: positions of values, and ticks. No DOM. */

/**
 * @typedef {{position: (value: number) => number, ticks: number[]}} Scale  `position`: 0 at the lower end, 1 at the upper
 */

/** Linear scale from 0 to a round number above the maximum. @param {number[]} values @param {number} [count]  approximate number of steps @returns {Scale} */
export function zeroBasedScale(values, count = 4) {
  const step = roundStep(Math.max(0, ...values) || 1, count);
  const top = Math.ceil((Math.max(0, ...values) || 1) / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step);
  return { position: (value) => value / top, ticks };
}

/** Logarithmic scale with a tick at every value. @param {number[]} values  positive @returns {Scale} */
export function logScale(values) {
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const [low, high] = [Math.log2(ticks[0] ?? 1), Math.log2(ticks[ticks.length - 1] ?? 2)];
  if (low === high) return { position: () => 0.5, ticks };
  return { position: (value) => (Math.log2(value) - low) / (high - low), ticks };
}

/** Linear scale with given ticks. @param {number} low @param {number} high @param {number[]} ticks @returns {Scale} */
export function linearScale(low, high, ticks) {
  return { position: (value) => (value - low) / (high - low), ticks };
}

/** @param {number} top @param {number} count */
function roundStep(top, count) {
  const power = 10 ** Math.floor(Math.log10(top / count));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= top / count - 1e-12) ?? 10);
}

/** Number with at most three significant digits: 0.25, 1.5, 12, 340, 12k. @param {number} value */
export function shortNumber(value) {
  if (value === 0) return "0";
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}
