/** The image as the network meets it: small, square, cut into tiles (ViT), and those into smaller tiles (TNT). */

/**
 * @typedef {import("./api.js").Model} Model
 * @typedef {number[][]} Heat  a value for each tile, by rows
 */

const MOST_HEAT = 0.8;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap | null} image  null draws empty tiles
 * @param {Model} model
 * @param {Heat | null} [heat]  what the network looked at: the more, the more a tile is coloured
 */
export function drawTiles(canvas, image, model, heat = null) {
  const { patch, sub, grid } = tiling(model);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const side = Math.round(canvas.clientWidth * devicePixelRatio);
  const gap = Math.max(1, Math.round(side / grid / (sub < patch ? 12 : 16)));
  const tile = Math.max(1, Math.floor((side + gap) / grid));
  canvas.width = canvas.height = tile * grid - gap;
  context.imageSmoothingEnabled = false;
  const pixels = image && resized(image, model);
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--tile");
  const words = patch / sub;
  for (let row = 0; row < grid * words; row++) {
    for (let column = 0; column < grid * words; column++) {
      const [left, right] = edges(column, words, tile, gap);
      const [top, bottom] = edges(row, words, tile, gap);
      if (!pixels) context.fillRect(left, top, right - left, bottom - top);
      else context.drawImage(pixels, column * sub, row * sub, sub, sub, left, top, right - left, bottom - top);
    }
  }
  if (pixels && heat?.length === grid) colour(canvas, context, heat, tile, gap);
}

/** @param {HTMLCanvasElement} canvas @param {CanvasRenderingContext2D} context @param {Heat} heat @param {number} tile @param {number} gap */
function colour(canvas, context, heat, tile, gap) {
  const [low, high] = [Math.min(...heat.flat()), Math.max(...heat.flat())];
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--heat");
  heat.forEach((values, row) =>
    values.forEach((value, column) => {
      context.globalAlpha = high > low ? (MOST_HEAT * (value - low)) / (high - low) : 0;
      context.fillRect(column * tile, row * tile, tile - gap, tile - gap);
    }),
  );
  context.globalAlpha = 1;
}

/** What the tiling is, in words. @param {Model} model */
export function describeTiles(model) {
  if (!model.config?.patch_size) return "an ONNX file";
  const { patch, sub, grid } = tiling(model);
  const words = patch / sub;
  return `${grid} × ${grid} tiles` + (words > 1 ? ` of ${words} × ${words} smaller ones` : ` of ${patch} × ${patch} pixels`);
}

/** Sizes in pixels of the network's input. @param {Model} model */
function tiling({ config }) {
  const known = config?.patch_size ? config : { image_size: 8, patch_size: 1 };
  const { image_size: size, patch_size: patch, sub_patch_size: sub } = known;
  return { size, patch, sub: sub ?? patch, grid: Math.floor(size / patch) };
}

/**
 * Where small tile number `index` begins and ends: the gaps between tiles are wider than those within one.
 *
 * @param {number} index
 * @param {number} words  small tiles along one side of a tile
 * @param {number} tile
 * @param {number} gap
 * @returns {[number, number]}
 */
function edges(index, words, tile, gap) {
  const start = Math.floor(index / words) * tile;
  const inner = words > 1 ? Math.max(1, Math.round(gap / 5)) : 0;
  const word = (tile - gap + inner) / words;
  const step = index % words;
  return [start + Math.round(step * word), start + Math.round((step + 1) * word - inner)];
}

/**
 * The checkpoint's resize and centre crop, as nearly as a browser does it.
 *
 * @param {ImageBitmap} image
 * @param {Model} model
 */
function resized(image, { preprocessing, config }) {
  const size = preprocessing?.size ?? config?.image_size ?? 8;
  const resize = preprocessing?.resize ?? size;
  const short = Math.min(image.width, image.height);
  const squash = preprocessing?.mode === "squash";
  const width = squash ? resize : (image.width * resize) / short;
  const height = squash ? resize : (image.height * resize) / short;
  const canvas = new OffscreenCanvas(size, size);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (size - width) / 2, (size - height) / 2, width, height);
  return canvas;
}
