/** File input: files dropped anywhere on the page, pasted, or chosen. */

import { byId } from "./elements.js";

/** @param {(files: File[]) => void} onFiles  called with at least one file */
export function addFileInputs(onFiles) {
  const pass = (/** @type {DataTransfer | null} */ data) => {
    const files = [...(data?.files ?? [])];
    if (files.length) onFiles(files);
    return files.length > 0;
  };
  addDropTarget(pass);
  document.addEventListener("paste", (event) => {
    if (pass(event.clipboardData)) event.preventDefault();
  });
  const input = byId("files", HTMLInputElement);
  byId("choose", HTMLButtonElement).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files?.length) onFiles([...input.files]);
    input.value = "";
  });
}

/** @param {(data: DataTransfer | null) => void} onDrop */
function addDropTarget(onDrop) {
  const overlay = byId("drop", HTMLDivElement);
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) overlay.hidden = true;
  });
  addEventListener("drop", (event) => {
    overlay.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    onDrop(event.dataTransfer);
  });
}
