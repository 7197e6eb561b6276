// Show how the traffic moved, window after window.

import { lines } from "./charts.js";
import { count, counted, h, percent, select, table, when } from "./dom.js";
import { workForm } from "./workform.js";

const WINDOWS = { 1: "a day each", 7: "a week each" };
const REFERENCES = { 7: "7 days before", 14: "14 days before", 28: "28 days before", 90: "90 days before" };
const NUMBERS = { 4: "4", 8: "8", 14: "14", 30: "30" };
const ALWAYS = ["in-scope score", "share of abstentions", "cost a request in USD"];
const MOST_CHARTS = 16;
const kept = { window_days: 1, windows: 14, reference_days: 28, result: null };

export function open(place, failed) {
  const choice = (title, name, options) =>
    h("label", {}, title, select(title, options, kept[name], (value) => { kept[name] = Number(value); }));
  return workForm(place, {
    path: "learning/drift",
    about: "The last windows of the log are compared with the time before them: routes, scores, cost, quality, and the prompts by their vectors.",
    start: "Compare",
    fields: [choice("Windows", "windows", NUMBERS), choice("Length", "window_days", WINDOWS), choice("Reference", "reference_days", REFERENCES)],
    body: () => ({ window_days: kept.window_days, windows: kept.windows, reference_days: kept.reference_days }),
    shown,
    kept,
    failed,
  });
}

function shown({ reference, windows }) {
  const known = windows.filter((one) => one.drift);
  const moved = known.filter((one) => one.drift.moved);
  return [
    h(
      "section",
      {},
      h("p", { class: "headline" }, moved.length ? `${counted(moved.length, "window")} of ${known.length} moved` : `nothing moved in ${counted(known.length, "window")}`),
      h("p", { class: "small muted" }, `Reference: ${when(reference.since)} to ${when(reference.until)}, ${counted(reference.rows, "request")}.`),
      windows.length > known.length ? h("p", { class: "small muted" }, `${counted(windows.length - known.length, "window")} with too few requests left out.`) : null,
      moved.length ? changes(moved) : null,
    ),
    h("section", {}, h("h2", {}, "Over time"), h("p", { class: "small muted" }, "A ring marks a window that moved, and the dashed line is the reference."), h("div", { class: "charts" }, charts(known))),
    ...fresh(moved),
  ];
}

/** List what moved, by the window in which it moved first. */
function changes(moved) {
  const first = new Map();
  for (const { window, drift } of moved) {
    for (const change of drift.changes.filter((one) => one.moved)) {
      const entry = first.get(change.what) ?? { ...change, first: window.since, windows: 0 };
      first.set(change.what, { ...entry, windows: entry.windows + 1 });
    }
  }
  return table(
    [
      ["what moved", (row) => row.what],
      ["since about", (row) => when(row.since ?? row.first)],
      ["before", (row) => figure(row.before), true],
      ["after", (row) => figure(row.after), true],
      ["effect", (row) => row.effect.toFixed(4), true],
      ["windows", (row) => count(row.windows), true],
    ],
    [...first.values()],
  );
}

const figure = (value) => (value === null ? "–" : Number(value.toPrecision(3)).toString());

function charts(known) {
  const every = new Map();
  for (const { window, drift } of known) {
    for (const change of drift.changes) {
      const points = every.get(change.what) ?? [];
      points.push({ x: (window.since + window.until) / 2, change });
      every.set(change.what, points);
    }
  }
  const wanted = [...every].filter(([what, points]) => ALWAYS.includes(what) || points.some(({ change }) => change.moved));
  const shares = (what) => what.startsWith("share");
  const drawn = wanted.slice(0, MOST_CHARTS).map(([what, points]) => {
    const means = points[0].change.before !== null;
    const format = (value) => (shares(what) ? percent(value) : figure(value));
    const told = points.map(({ x, change }) => {
      const y = means ? change.after : change.effect;
      return { x, y, moved: change.moved, told: `${when(x)}: ${format(y)}${change.moved ? ", moved" : ""}` };
    });
    return h(
      "div",
      {},
      h("h3", {}, means ? what : `${what}: distance from the reference`),
      lines(what, { series: [{ name: what, points: told, colour: 0 }], bounds: shares(what) ? [0, 1] : undefined, level: means ? { y: points[0].change.before, name: "reference" } : undefined, x: day, y: format }),
    );
  });
  return wanted.length > MOST_CHARTS ? [...drawn, h("p", { class: "muted small" }, `and ${wanted.length - MOST_CHARTS} more`)] : drawn;
}

const day = (seconds) => new Date(1000 * seconds).toISOString().slice(5, 10);

/** Show prompts that are new, from the latest window that has any. */
function fresh(moved) {
  const latest = moved.filter((one) => one.drift.new.length).at(-1);
  if (!latest) return [];
  return [
    h(
      "section",
      {},
      h("h2", {}, `New in the window from ${when(latest.window.since)}`),
      latest.drift.new.map((one) =>
        h(
          "div",
          {},
          h("h3", {}, `${percent(one.share)} of the window${one.are_prompts ? "" : ", told by the nearest utterances"}; went to ${Object.keys(one.routes).map((name) => name || "the default").slice(0, 3).join(", ")}`),
          one.examples.map((text) => h("p", { class: "small" }, text)),
        )),
    ),
  ];
}
