/** Server-sent events over fetch: the browser's own EventSource cannot send a key. */

import { request } from "./api.js";

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{event: string, data: any}>}  until the server ends it
 */
export async function* serverEvents(url, signal) {
  const { body } = await request(url, { signal, cache: "no-store" });
  if (!body) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop() ?? "";
    for (const part of parts) {
      const found = parse(part);
      if (found) yield found;
    }
  }
}

/** @param {string} part  null for a comment */
function parse(part) {
  const lines = part.split("\n").map((line) => line.match(/^(event|data): (.*)$/));
  const { event, data } = Object.fromEntries(lines.flatMap((match) => (match ? [[match[1], match[2]]] : [])));
  return data === undefined ? null : { event: event ?? "message", data: JSON.parse(data) };
}
