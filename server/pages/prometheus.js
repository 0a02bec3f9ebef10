/** What `/metrics` says, read. Knows no DOM. */

/** @typedef {{name: string, labels: Record<string, string>, value: number}} Sample */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** @param {string} text @returns {Sample[]} */
export function readMetrics(text) {
  return text.split("\n").flatMap((line) => {
    const match = line.match(LINE);
    if (!match) return [];
    const labels = [...(match[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, "$1")]);
    return [{ name: match[1], labels: Object.fromEntries(labels), value: Number(match[3]) }];
  });
}

/** One look at the counters of one model, or of all together. */
export class Look {
  /** @param {Sample[]} samples @param {string} model  "" for all @param {number} at  ms */
  constructor(samples, model, at) {
    this.at = at;
    this.samples = model ? samples.filter(({ labels }) => (labels.model ?? model) === model) : samples;
  }

  /** @param {string} name */
  sum(name) {
    return this.samples.reduce((sum, sample) => (sample.name === name ? sum + sample.value : sum), 0);
  }

  /** A histogram's buckets: upper bound -> how many lie in it, not below. @param {string} name @returns {Map<number, number>} */
  buckets(name) {
    /** @type {Map<number, number>} */
    const upTo = new Map();
    for (const { name: found, labels, value } of this.samples) {
      if (found !== `${name}_bucket`) continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      upTo.set(bound, (upTo.get(bound) ?? 0) + value);
    }
    const bounds = [...upTo.keys()].sort((a, b) => a - b);
    return new Map(bounds.map((bound, i) => [bound, (upTo.get(bound) ?? 0) - (i ? (upTo.get(bounds[i - 1]) ?? 0) : 0)]));
  }
}

/** What came between two looks. @param {Map<number, number>} before @param {Map<number, number>} now */
export function difference(before, now) {
  return new Map([...now].map(([bound, count]) => [bound, Math.max(0, count - (before.get(bound) ?? 0))]));
}

/** Linear within its bucket, as Prometheus has it; null where nothing was counted. @param {Map<number, number>} buckets @param {number} share 0..1 */
export function quantile(buckets, share) {
  const total = [...buckets.values()].reduce((sum, count) => sum + count, 0);
  let below = 0;
  let low = 0;
  for (const [bound, count] of buckets) {
    if (count && below + count >= share * total) return bound === Infinity ? low : low + ((share * total - below) / count) * (bound - low);
    below += count;
    low = bound;
  }
  return null;
}
