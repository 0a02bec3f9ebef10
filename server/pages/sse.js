/** Server-sent events over fetch: the browser's EventSource cannot send an API key. */

import { request } from "./api.js";

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{event: string, data: any}>}  until the server closes the stream
 */
export async function* serverEvents(url, signal) {
  const { body } = await request(url, { signal, cache: "no-store" });
  if (!body) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = parse(block);
      if (event) yield event;
    }
  }
}

/** Event of a block; null for a comment. @param {string} block */
function parse(block) {
  const lines = block.split("\n").map((line) => line.match(/^(event|data): (.*)$/));
  const { event, data } = Object.fromEntries(lines.flatMap((match) => (match ? [[match[1], match[2]]] : [])));
  return data === undefined ? null : { event: event ?? "message", data: JSON.parse(data) };
}
