/** Scales of a chart: where a value lies, and which values get a label. Knows no DOM. */

/**
 * @typedef {{at: (value: number) => number, ticks: number[]}} Scale  `at`: 0 at the lower end, 1 at the upper
 */

/** From nothing to a round number above the largest. @param {number[]} values @param {number} [count]  of steps, about @returns {Scale} */
export function fromZero(values, count = 4) {
  const step = roundStep(Math.max(0, ...values) || 1, count);
  const top = Math.ceil((Math.max(0, ...values) || 1) / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step);
  return { at: (value) => value / top, ticks };
}

/** Each doubling the same distance; every value is a tick. @param {number[]} values  above zero @returns {Scale} */
export function doubling(values) {
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const [low, high] = [Math.log2(ticks[0] ?? 1), Math.log2(ticks[ticks.length - 1] ?? 2)];
  if (low === high) return { at: () => 0.5, ticks };
  return { at: (value) => (Math.log2(value) - low) / (high - low), ticks };
}

/** From one value to another, with these ticks. @param {number} low @param {number} high @param {number[]} ticks @returns {Scale} */
export function between(low, high, ticks) {
  return { at: (value) => (value - low) / (high - low), ticks };
}

/** @param {number} top @param {number} count */
function roundStep(top, count) {
  const power = 10 ** Math.floor(Math.log10(top / count));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= top / count - 1e-12) ?? 10);
}

/** In three digits at most: 0.25, 1.5, 12, 340, 12k. @param {number} value */
export function short(value) {
  if (value === 0) return "0";
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}
