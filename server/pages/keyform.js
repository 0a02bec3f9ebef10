/** A field for the API key, below the header, where the service asks for one. */

import { element } from "./elements.js";
import { key } from "./key.js";

/** @param {() => void} retry  called when there is a new key */
export function askForKey(retry) {
  const input = /** @type {HTMLInputElement} */ (
    element("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: "" })
  );
  const text = element("label", { for: "key" }, "API key");
  const note = element("span", { class: "muted", role: "status" });
  const form = element("form", { class: "key", hidden: "" }, text, input, element("button", { type: "submit" }, "Use key"), note);
  document.querySelector("header")?.after(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    key.value = input.value.trim();
  });
  key.addEventListener("refused", () => {
    if (!form.hidden) return;
    form.hidden = false;
    note.textContent = key.value ? "The service does not know that key." : "This service asks for one; the tab keeps it.";
  });
  key.addEventListener("change", retry);
}
