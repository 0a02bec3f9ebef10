/** Prometheus text format: parser, snapshots, histogram arithmetic. No DOM. */

/** @typedef {{name: string, labels: Record<string, string>, value: number}} Sample */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** @param {string} text @returns {Sample[]} */
export function parseMetrics(text) {
  return text.split("\n").flatMap((line) => {
    const match = line.match(LINE);
    if (!match) return [];
    const labels = [...(match[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, "$1")]);
    return [{ name: match[1], labels: Object.fromEntries(labels), value: Number(match[3]) }];
  });
}

/** Snapshot of the metrics of one model, or of all models. */
export class Snapshot {
  /** @param {Sample[]} samples @param {string} model  "" for all @param {number} time  in ms */
  constructor(samples, model, time) {
    this.time = time;
    this.samples = model ? samples.filter(({ labels }) => (labels.model ?? model) === model) : samples;
  }

  /** @param {string} name */
  sum(name) {
    return this.samples.reduce((sum, sample) => (sample.name === name ? sum + sample.value : sum), 0);
  }

  /** Histogram buckets: upper bound -> count, not cumulative. @param {string} name @returns {Map<number, number>} */
  buckets(name) {
    /** @type {Map<number, number>} */
    const cumulative = new Map();
    for (const { name: sampleName, labels, value } of this.samples) {
      if (sampleName !== `${name}_bucket`) continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      cumulative.set(bound, (cumulative.get(bound) ?? 0) + value);
    }
    const bounds = [...cumulative.keys()].sort((a, b) => a - b);
    return new Map(bounds.map((bound, i) => [bound, (cumulative.get(bound) ?? 0) - (i ? (cumulative.get(bounds[i - 1]) ?? 0) : 0)]));
  }
}

/** Counts added between two snapshots. @param {Map<number, number>} before @param {Map<number, number>} now */
export function bucketDifference(before, now) {
  return new Map([...now].map(([bound, count]) => [bound, Math.max(0, count - (before.get(bound) ?? 0))]));
}

/** Quantile, interpolated linearly within a bucket as in Prometheus; null without counts. @param {Map<number, number>} buckets @param {number} q  0..1 */
export function quantile(buckets, q) {
  const total = [...buckets.values()].reduce((sum, count) => sum + count, 0);
  let below = 0;
  let low = 0;
  for (const [bound, count] of buckets) {
    if (count && below + count >= q * total) return bound === Infinity ? low : low + ((q * total - below) / count) * (bound - low);
    below += count;
    low = bound;
  }
  return null;
}
