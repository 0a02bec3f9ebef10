/** Models page: a card for each served model. */

import { addApiKeyForm } from "./api-key-form.js";
import { byId } from "./elements.js";
import { ModelCard } from "./model-card.js";
import { Notice } from "./notice.js";
import { ServiceStatus } from "./service-status.js";

const POLL_INTERVAL = 5000;

const service = new ServiceStatus();
const list = byId("models", HTMLDivElement);
const status = byId("status", HTMLParagraphElement);
const notice = new Notice(() => service.refresh());

function show() {
  const { state, models, message } = service;
  if (state === "unreachable") notice.show(`Server unreachable: ${message}`, true);
  else notice.hide();
  if (state === "unreachable" || state === "unauthorized") return;
  const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.id));
  list.replaceChildren(...models.map((model) => new ModelCard(model, model.name === service.default, open).element));
  status.textContent = summary(models.filter((model) => model.state === "ready").length, models.length);
}

/** @param {number} ready @param {number} all */
function summary(ready, all) {
  const models = `${all} ${all === 1 ? "model" : "models"}`;
  return ready === all ? `${models}, all ready.` : `${models}, ${ready} ready.`;
}

service.addEventListener("change", show);
addApiKeyForm(() => service.refresh());
service.refresh();
setInterval(() => document.hidden || service.refresh(), POLL_INTERVAL);
