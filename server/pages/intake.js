/** Files from outside: dropped anywhere on the page, pasted, or chosen. */

import { byId } from "./elements.js";

/** @param {(files: File[]) => void} take  called with at least one file */
export function takeFiles(take) {
  const give = (/** @type {DataTransfer | null} */ data) => {
    const files = [...(data?.files ?? [])];
    if (files.length) take(files);
    return files.length > 0;
  };
  takeDropped(give);
  document.addEventListener("paste", (event) => {
    if (give(event.clipboardData)) event.preventDefault();
  });
  const input = byId("files", HTMLInputElement);
  byId("choose", HTMLButtonElement).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files?.length) take([...input.files]);
    input.value = "";
  });
}

/** @param {(data: DataTransfer | null) => void} give */
function takeDropped(give) {
  const veil = byId("drop", HTMLDivElement);
  const holdsFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    give(event.dataTransfer);
  });
}
