/** Network input: the resized image, split into patches and, for TNT, into sub-patches. */

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {number[][]} Heatmap  a value for each patch, by row
 */

const MAX_OPACITY = 0.8;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap | null} bitmap  null: paint empty patches
 * @param {Model} model
 * @param {Heatmap | null} [heatmap]  attention map painted over the patches
 */
export function drawPatches(canvas, bitmap, model, heatmap = null) {
  const { patch, sub, grid } = patchSizes(model);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  const gap = Math.max(1, Math.round(side / grid / (sub < patch ? 12 : 16)));
  const cell = Math.max(1, Math.floor((side + gap) / grid));
  canvas.width = canvas.height = cell * grid - gap;
  context.imageSmoothingEnabled = false;
  const pixels = bitmap && resized(bitmap, model);
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--patch");
  const perSide = patch / sub;
  for (let row = 0; row < grid * perSide; row++) {
    for (let column = 0; column < grid * perSide; column++) {
      const [left, right] = edges(column, perSide, cell, gap);
      const [top, bottom] = edges(row, perSide, cell, gap);
      if (!pixels) context.fillRect(left, top, right - left, bottom - top);
      else context.drawImage(pixels, column * sub, row * sub, sub, sub, left, top, right - left, bottom - top);
    }
  }
  if (pixels && heatmap?.length === grid) paintHeatmap(canvas, context, heatmap, cell, gap);
}

/** @param {HTMLCanvasElement} canvas @param {CanvasRenderingContext2D} context @param {Heatmap} heatmap @param {number} cell @param {number} gap */
function paintHeatmap(canvas, context, heatmap, cell, gap) {
  const [low, high] = [Math.min(...heatmap.flat()), Math.max(...heatmap.flat())];
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--heatmap");
  heatmap.forEach((values, row) =>
    values.forEach((value, column) => {
      context.globalAlpha = high > low ? (MAX_OPACITY * (value - low)) / (high - low) : 0;
      context.fillRect(column * cell, row * cell, cell - gap, cell - gap);
    }),
  );
  context.globalAlpha = 1;
}

/** Description of the patches. @param {Model} model */
export function describePatches(model) {
  if (!model.config?.patch_size) return "ONNX model";
  const { patch, sub, grid } = patchSizes(model);
  const perSide = patch / sub;
  return `${grid} × ${grid} patches` + (perSide > 1 ? ` of ${perSide} × ${perSide} sub-patches` : ` of ${patch} × ${patch} pixels`);
}

/** Sizes of image, patch and sub-patch in pixels, and patches per side. @param {Model} model */
function patchSizes({ config }) {
  const known = config?.patch_size ? config : { image_size: 8, patch_size: 1 };
  const { image_size: size, patch_size: patch, sub_patch_size: sub } = known;
  return { size, patch, sub: sub ?? patch, grid: Math.floor(size / patch) };
}

/**
 * Start and end of sub-patch number `index` along one side. Gaps between patches are wider than between sub-patches.
 *
 * @param {number} index
 * @param {number} perSide  sub-patches along one side of a patch
 * @param {number} cell  side of a patch with its gap
 * @param {number} gap
 * @returns {[number, number]}
 */
function edges(index, perSide, cell, gap) {
  const start = Math.floor(index / perSide) * cell;
  const innerGap = perSide > 1 ? Math.max(1, Math.round(gap / 5)) : 0;
  const pitch = (cell - gap + innerGap) / perSide;
  const step = index % perSide;
  return [start + Math.round(step * pitch), start + Math.round((step + 1) * pitch - innerGap)];
}

/**
 * The checkpoint's resize and centre crop, approximated by the browser.
 *
 * @param {ImageBitmap} bitmap
 * @param {Model} model
 */
function resized(bitmap, { preprocessing, config }) {
  const size = preprocessing?.size ?? config?.image_size ?? 8;
  const resize = preprocessing?.resize ?? size;
  const short = Math.min(bitmap.width, bitmap.height);
  const squash = preprocessing?.mode === "squash";
  const width = squash ? resize : (bitmap.width * resize) / short;
  const height = squash ? resize : (bitmap.height * resize) / short;
  const canvas = new OffscreenCanvas(size, size);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (size - width) / 2, (size - height) / 2, width, height);
  return canvas;
}
