// Decide the log anew with the files of a candidate folder, and show what would change.

import { count, counted, h, meter, percent, select, table, usd } from "./dom.js";
import { workForm } from "./workform.js";

const SPANS = { 1: "the last day", 7: "7 days", 30: "30 days", 90: "90 days", 365: "a year" };
const SHOWN = 20;
const kept = { days: 7, result: null };

export function open(place, failed) {
  const folder = h("input", { type: "file", multiple: true, webkitdirectory: true, "aria-label": "candidate folder" });
  const days = select("span", SPANS, kept.days, (value) => { kept.days = Number(value); });
  return workForm(place, {
    path: "learning/replay",
    about:
      "Choose a folder with route files on your machine. The requests of the log are decided by these files, and nothing else changes. Without a folder, the route files in service decide.",
    start: "Replay",
    fields: [h("label", {}, "Candidate folder", folder), h("label", {}, "Requests of", days)],
    body: async () => ({ days: kept.days, files: await routeFiles([...folder.files]) }),
    shown,
    kept,
    failed,
  });
}

/** Return the texts of the route files in a folder by name. Folders inside it do not count. Undefined: there are none. */
async function routeFiles(files) {
  const chosen = files.filter(({ name, webkitRelativePath }) =>
    /^[^.].*\.ya?ml$/.test(name) && webkitRelativePath.split("/").length <= 2);
  if (files.length && !chosen.length) throw new Error("the folder holds no *.yaml");
  return chosen.length ? Object.fromEntries(await Promise.all(chosen.map(async (file) => [file.name, await file.text()]))) : undefined;
}

function shown({ report, replayed, kinds_of_moves: kinds, exactness }) {
  if (!report.rows) return h("section", {}, h("p", { class: "muted" }, "The log has no requests in this span."));
  return [
    h(
      "div",
      { class: "tiles" },
      tile("requests", count(report.rows), `by the files ${report.config_version}`),
      tile("decided otherwise", replayed ? percent(report.changed / replayed) : "–", `${count(report.changed)} of ${count(replayed)}: the route of ${count(report.changed_routes)}, the model of ${count(report.changed_models)}`),
      tile("cost", usd(report.after_usd), `${usd(report.before_usd)} before`),
      tile("expected quality", report.quality_rows ? report.quality_after.toFixed(3) : "–", report.quality_rows ? `${report.quality_before.toFixed(3)} before` : "no qualities are known"),
    ),
    h(
      "section",
      {},
      h("div", { class: "columns" }, shares("By model", report.by_model), shares("By route", report.by_route)),
      h("h2", {}, "How exact this is"),
      exactness.map((line) => h("p", { class: "small" }, line)),
    ),
    h("section", {}, h("h2", {}, "What moves"), report.moves.length ? report.moves.slice(0, SHOWN).map(move) : h("p", { class: "muted" }, "Nothing."), kinds > SHOWN ? h("p", { class: "muted small" }, `and ${counted(kinds - SHOWN, "other move")}, less frequent`) : null),
  ];
}

const tile = (name, figure, note) =>
  h("div", {}, h("span", { class: "muted small" }, name), h("b", {}, figure), h("span", { class: "muted small" }, note));

/** Show two bars for each name: before in grey, after in colour. */
function shares(title, all) {
  const rows = Object.entries(all);
  const most = Math.max(1, ...rows.flatMap(([, { before, after }]) => [before, after]));
  const bars = rows.slice(0, SHOWN).map(([name, { before, after }]) => {
    const old = meter(before / most, null, `${name || "none"}: ${count(before)} before`);
    old.classList.add("old");
    return [
      h("span", {}, name || "none"),
      h("div", {}, old, meter(after / most, null, `${name || "none"}: ${count(after)} after`)),
      h("span", { class: "muted" }, `${count(before)} → ${count(after)}`),
    ];
  });
  const more = rows.length - SHOWN;
  return h(
    "div",
    {},
    h("h2", {}, title),
    h("div", { class: "pair" }, bars),
    more > 0 ? h("p", { class: "muted small" }, `and ${more} more`) : null,
  );
}

function move(one) {
  const arrow = (before, after) => (before === after ? (before ?? "none") : `${before ?? "none"} → ${after ?? "none"}`);
  const near = (found) => (found ? `${found.utterance} (${found.similarity.toFixed(2)})` : "–");
  return h(
    "details",
    {},
    h("summary", {}, h("b", {}, count(one.count)), ` ${arrow(one.route_before, one.route_after)}, ${arrow(one.model_before, one.model_after)}, ${usd(one.cost_before_usd)} → ${usd(one.cost_after_usd)}`),
    table(
      [
        ["request", (row) => h("a", { href: `#decisions/${encodeURIComponent(row.id)}` }, row.text ?? row.id)],
        ["nearest before", (row) => near(row.nearest_before)],
        ["nearest after", (row) => near(row.nearest_after)],
        ["confidence", (row) => `${row.confidence_before.toFixed(2)} → ${row.confidence_after.toFixed(2)}`, true],
        ["exact", (row) => (row.exact ? "yes" : "no")],
      ],
      one.examples,
    ),
  );
}
