/** API key form below the page header, shown when the service requires a key. */

import { element } from "./elements.js";
import { apiKey } from "./api-key.js";

/** @param {() => void} retry  called when a key has been entered */
export function addApiKeyForm(retry) {
  const input = /** @type {HTMLInputElement} */ (
    element("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: "" })
  );
  const label = element("label", { for: "key" }, "API key");
  const note = element("span", { class: "muted", role: "status" });
  const form = element("form", { class: "key", hidden: "" }, label, input, element("button", { type: "submit" }, "Use this key"), note);
  document.querySelector("header")?.after(form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    apiKey.value = input.value.trim();
  });
  apiKey.addEventListener("rejected", () => {
    if (!form.hidden) return;
    form.hidden = false;
    note.textContent = apiKey.value ? "Invalid API key." : "This service requires an API key.";
  });
  apiKey.addEventListener("change", retry);
}
