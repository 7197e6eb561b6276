// Try a prompt: show the decision and its reasons, and the answer if it is wanted.

import { ask } from "./api.js";
import { counted, h, json, ms, show, usd } from "./dom.js";
import { decisionParts } from "./shown.js";

let last = "";

export async function open(place, _, failed) {
  const prompt = h("textarea", { rows: 6, required: true, "aria-label": "prompt", placeholder: "why was I charged twice?" });
  prompt.value = last;
  const model = h("input", { list: "models", value: "auto", "aria-label": "model" });
  const models = h("datalist", { id: "models" });
  const dial = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.5, disabled: true, "aria-label": "dial" });
  const dialled = h("input", { type: "checkbox", onchange: () => { dial.disabled = !dialled.checked; } });
  const dialledTo = h("output", {}, dial.value);
  dial.addEventListener("input", () => { dialledTo.textContent = dial.value; });
  const metadata = h("textarea", { rows: 3, "aria-label": "metadata", placeholder: '{"tier": "gold"}' });
  const result = h("section", { "aria-live": "polite" }, h("p", { class: "muted" }, "Decisions are shown here."));
  const decide = h("button", { class: "main" }, "Decide");
  const answer = h("button", { type: "button", onclick: () => send("complete") }, "Decide and answer");

  async function send(call) {
    if (!form.reportValidity()) return;
    last = prompt.value;
    decide.disabled = answer.disabled = true;
    try {
      const body = { prompt: prompt.value, model: model.value.trim() || "auto", explain: true };
      if (dialled.checked) body.cost_quality = Number(dial.value);
      if (metadata.value.trim()) body.metadata = readObject(metadata.value);
      const found = await ask("POST", call, body);
      const parts = call === "route" ? decisionParts(found) : [answered(found), decisionParts(found.decision)];
      show(result, parts, json(found));
    } catch (error) {
      if (error.status === 401) failed(error);
      show(result, h("p", { class: "error" }, error.message));
    } finally {
      decide.disabled = answer.disabled = false;
    }
  }

  const form = h(
    "form",
    {
      onsubmit: (event) => { event.preventDefault(); send("route"); },
      onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send("route"); },
    },
    h("label", {}, "Prompt (Ctrl+Enter decides)", prompt),
    h("label", {}, "Model: auto, auto:<route> or a model", model, models),
    h("label", {}, dialled, " Set the dial (0: the cheapest model, 1: the best): ", dialledTo, dial),
    h("details", {}, h("summary", {}, "Metadata for rules"), metadata),
    h("div", { class: "row" }, decide, answer),
  );
  show(place, h("div", { class: "columns" }, h("section", {}, form), result));
  prompt.focus();
  const { data } = await ask("GET", "v1/models");
  show(models, data.map((known) => h("option", { value: known.id })));
}

function readObject(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`metadata: ${error.message}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("metadata: expected an object");
  return value;
}

function answered(found) {
  const failed = found.attempts.filter((attempt) => attempt.status !== "ok");
  const told = [`${found.model}`, usd(found.cost_usd), counted(found.usage.output_tokens, "token")];
  return h(
    "div",
    {},
    h("h2", {}, "Answer"),
    h("p", { class: "answer" }, found.content),
    h("p", { class: "muted small" }, told.join(" · ")),
    failed.map((attempt) =>
      h("p", { class: "small error" }, `${attempt.model}: ${attempt.error ?? attempt.status} (${ms(attempt.latency_ms)})`),
    ),
  );
}
