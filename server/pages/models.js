/** The page Models: what is served, from which network, how it was decided to run it, and in which state it is. */

import { byId, element } from "./elements.js";
import { askForKey } from "./keyform.js";
import { ModelCard } from "./modelcard.js";
import { Notice } from "./notice.js";
import { Service } from "./service.js";

const LOOK_AGAIN = 5000;

const service = new Service();
const list = byId("models", HTMLDivElement);
const lead = byId("lead", HTMLParagraphElement);
const notice = new Notice(() => service.refresh());

function show() {
  const { state, models, message } = service;
  if (state === "gone") notice.show(`The server does not answer: ${message}`, true);
  else notice.hide();
  if (state === "gone" || state === "locked") return;
  const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.id));
  list.replaceChildren(...models.map((model) => new ModelCard(model, model.name === service.default, open).element));
  lead.textContent = summary(models.filter((model) => model.state === "ready").length, models.length);
}

/** @param {number} ready @param {number} all */
function summary(ready, all) {
  const answer = ready === 1 ? "One model answers" : `${ready} models answer`;
  return ready === all ? `${answer}.` : `${answer}, of ${all}.`;
}

service.addEventListener("change", show);
askForKey(() => service.refresh());
service.refresh();
setInterval(() => document.hidden || service.refresh(), LOOK_AGAIN);
