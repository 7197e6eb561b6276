// The log: all decisions, newest first, and the details of one decision.

import { ask, query } from "./api.js";
import { chip, h, json, ms, percent, select, show, table, usd, when } from "./dom.js";
import { decisionParts } from "./shown.js";

const PAGE = 50;
const OUTCOMES = ["ok", "decided", "failed", "refused", "cancelled"];

const filters = { route: "", model: "", outcome: "", error: "" };

export async function open(place, [id], failed) {
  const rows = [];
  const list = h("section");
  const fields = ["route", "model", "error"].map((name) => {
    const changed = () => { filters[name] = field.value.trim(); load(); };
    const field = h("input", { value: filters[name], "aria-label": name, onchange: changed });
    return h("label", {}, name === "error" ? "error contains" : name, field);
  });
  const outcomes = { "": "any", ...Object.fromEntries(OUTCOMES.map((name) => [name, name])) };
  const outcome = select("outcome", outcomes, filters.outcome, (value) => { filters.outcome = value; load(); });
  const again = h("button", { type: "button", onclick: () => load() }, "Reload");
  show(place, h("section", { class: "row" }, fields, h("label", {}, "outcome", outcome), again), list);

  async function load(cursor) {
    try {
      const found = await ask("GET", query("decisions", { ...filters, limit: PAGE, cursor }));
      if (cursor === undefined) rows.length = 0;
      rows.push(...found.decisions);
      const more = h("button", { type: "button", onclick: () => load(found.next_cursor) }, "Older decisions");
      show(list, rows.length ? summaries(rows) : h("p", { class: "muted" }, "No decisions."), found.next_cursor ? more : null);
    } catch (error) {
      failed(error);
    }
  }

  await load();
  if (id) await openOne(id);
}

function summaries(rows) {
  return table(
    [
      ["time", (row) => when(row.at)],
      ["route", (row) => row.route ?? "–"],
      ["reason", (row) => row.reason],
      ["confidence", (row) => percent(row.confidence), true],
      ["model", (row) => row.model ?? "–"],
      ["outcome", (row) => chip(row.outcome)],
      ["attempts", (row) => row.attempts, true],
      ["cost", (row) => usd(row.cost_usd), true],
      ["latency", (row) => ms(row.latency_ms), true],
      ["key", (row) => row.key_name || row.key_id || "–"],
    ],
    rows,
    (row) => openOne(row.id),
  );
}

/** Show one record in a dialog, with buttons for feedback. */
async function openOne(id) {
  const dialog = document.getElementById("dialog");
  let record;
  try {
    record = await ask("GET", `decisions/${encodeURIComponent(id)}`);
  } catch (error) {
    show(dialog, h("p", { class: "error" }, error.message), closing(dialog));
    dialog.showModal();
    return;
  }
  const { embedding_float16: _, scores: __, ...shown } = record;
  show(
    dialog,
    h("p", { class: "muted small" }, `${record.id} · ${when(record.at)} · `, chip(record.outcome)),
    decisionParts(record.decision),
    attempts(record),
    record.prompt === null ? null : [h("h3", {}, "Prompt"), h("p", { class: "answer" }, record.prompt)],
    record.answer === null ? null : [h("h3", {}, "Answer"), h("p", { class: "answer" }, record.answer)],
    await feedback(record),
    json(shown),
    closing(dialog),
  );
  dialog.showModal();
  dialog.scrollTop = 0;
}

const closing = (dialog) => h("p", {}, h("button", { type: "button", onclick: () => dialog.close() }, "Close"));

function attempts(record) {
  if (!record.attempts.length) return null;
  return h(
    "div",
    {},
    h("h3", {}, `Attempts: ${usd(record.cost_usd)}, ${usd(record.saved_usd)} saved, ${ms(record.latency_ms)} in all`),
    table(
      [
        ["model", (row) => row.model],
        ["outcome", (row) => chip(row.status)],
        ["for", (row) => row.purpose],
        ["tokens in", (row) => row.usage.input_tokens, true],
        ["out", (row) => row.usage.output_tokens, true],
        ["cost", (row) => usd(row.cost_usd), true],
        ["latency", (row) => ms(row.latency_ms), true],
        [
          "error",
          (row) => `${row.error ?? row.escalated ?? row.ungraded ?? ""}${row.served_anyway ? " (sent although it failed a check)" : ""}`,
        ],
      ],
      record.attempts,
    ),
  );
}

async function feedback(record) {
  const said = h("span", { class: "small", role: "status" }, tell(record.feedback));
  const send = async (given) => {
    try {
      await ask("POST", "feedback", { decision: record.id, ...given });
      said.textContent = "recorded";
    } catch (error) {
      said.textContent = error.message;
    }
  };
  const known = await ask("GET", "routes").catch(() => ({ routes: [] }));
  const routes = { "": "the right route…", ...Object.fromEntries(known.routes.map(({ name }) => [name, name])) };
  const label = select("right route", routes, "", (value) => { if (value) send({ label: value }); });
  const thumbs = ["up", "down"].map((way) =>
    h("button", { type: "button", onclick: () => send({ thumbs: way }) }, way === "up" ? "Good" : "Bad"));
  return h("div", {}, h("h3", {}, "Feedback"), h("div", { class: "row" }, thumbs, h("label", {}, label), said));
}

function tell(given) {
  if (!given) return "";
  const parts = [given.score === null ? null : `score ${given.score}`, given.label, given.comment];
  return parts.filter(Boolean).join(", ");
}
