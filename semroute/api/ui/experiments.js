// Show the experiments: each arm beside control, with intervals over time.

import { ask } from "./api.js";
import { lines } from "./charts.js";
import { chip, count, h, ms, percent, select, show, table, usd, when } from "./dom.js";
import { signed } from "./symbols.js";

const FIGURES = {
  quality: "quality",
  judged: "judged quality",
  cost_usd: "cost a request",
  latency_ms: "latency",
  p95_ms: "95th percentile of latency",
  error_rate: "error rate",
  abstention_rate: "abstention rate",
};
const RELATIVE = ["cost_usd", "latency_ms", "p95_ms"];
const kept = { figure: "quality" };

export async function open(place) {
  const { experiments } = await ask("GET", "experiments");
  const body = h("div");
  const figure = select("figure", FIGURES, kept.figure, (value) => { kept.figure = value; draw(); });
  show(place, h("section", { class: "row" }, h("label", {}, "Figure over time", figure)), body);
  draw();

  function draw() {
    show(body, experiments.length ? experiments.map(shown) : h("section", {}, h("p", { class: "muted" }, "The route files define no experiment.")));
  }
}

function shown(experiment) {
  const { sample_ratio: ratio, arms } = experiment;
  const span = experiment.started_at === null ? "not started" : `since ${when(experiment.started_at)}, ${experiment.days.toFixed(1)} days`;
  return h(
    "section",
    {},
    h("h2", {}, experiment.name, " ", chip(experiment.state), h("span", { class: "muted small" }, ` ${span}`)),
    ratio.ok ? null : h("p", { class: "error", role: "alert" }, h("b", {}, "The arms did not get their shares of the users, so no comparison can be trusted.")),
    experiment.breached ? h("p", { class: "error" }, experiment.breached) : null,
    experiment.summary.map((sentence) => h("p", {}, sentence)),
    figures(arms),
    overTime(experiment),
  );
}

function figures(arms) {
  const columns = Object.entries(FIGURES).map(([name, title]) => [title, (arm) => cell(name, arm.metrics[name]), true]);
  return table(
    [
      ["arm", (arm) => h("span", { class: "whole" }, signed(arms.indexOf(arm)), ` ${arm.name}`, arm.is_control ? h("span", { class: "muted" }, " (control)") : null)],
      ["weight", (arm) => arm.weight, true],
      ["users", (arm) => count(arm.units), true],
      ["requests", (arm) => count(arm.requests), true],
      ...columns,
    ],
    arms,
  );
}

/** Show an estimate, and below it the difference from control with its interval. */
function cell(name, metric) {
  const { estimate, difference, differs, better } = metric ?? {};
  if (!estimate || estimate.value === null) return "–";
  const tell = gap(name);
  const told = difference && difference.value !== null ? `${tell(difference.value)} (${tell(difference.low)} to ${tell(difference.high)})` : null;
  return [
    h("div", {}, format(name)(estimate.value)),
    told ? h("div", { class: "small muted" }, told, differs ? h("b", {}, better ? " better" : " worse") : null) : null,
  ];
}

const SCORES = ["quality", "judged"];
const SHARES = [...SCORES, "error_rate", "abstention_rate"];

/** Return what tells a difference from control: as a part of it, as points of a share, or as a score. */
const gap = (name) => (value) => {
  if (value === null) return "open";
  const plus = value >= 0 ? "+" : "";
  if (SCORES.includes(name)) return `${plus}${value.toFixed(3)}`;
  return `${plus}${(100 * value).toFixed(1)}${RELATIVE.includes(name) ? "%" : " points"}`;
};
const format = (name) => ({ cost_usd: usd, latency_ms: ms, p95_ms: ms })[name] ?? (SCORES.includes(name) ? (value) => value.toFixed(3) : percent);

function overTime({ arms, control }) {
  const name = kept.figure;
  const days = [...new Set(arms.flatMap((arm) => arm.metrics[name].by_day.map(({ day }) => day)))].sort();
  if (!days.length) return h("p", { class: "muted small" }, `${FIGURES[name]}: nothing over time yet.`);
  const at = (day) => days.indexOf(day);
  const line = (arm, key) => ({
    name: arm.name,
    colour: arms.indexOf(arm),
    points: arm.metrics[name].by_day
      .filter((one) => one[key])
      .map((one) => ({ x: at(one.day), y: one[key].value, low: one[key].low, high: one[key].high, told: `${arm.name}, ${one.day}: ${(key === "difference" ? gap : format)(name)(one[key].value ?? 0)}` })),
  });
  const axis = { x: (place) => days[place]?.slice(5) ?? "" };
  const bounds = (least) => (SHARES.includes(name) ? [least, 1] : undefined);
  const others = arms.filter((arm) => !arm.is_control);
  return h(
    "div",
    { class: "charts" },
    h("div", {}, h("h3", {}, `${FIGURES[name]} by arm, from all days so far`), lines(`${FIGURES[name]} by arm`, { series: arms.map((arm) => line(arm, "estimate")), bounds: bounds(0), ...axis, y: format(name) })),
    h(
      "div",
      {},
      h("h3", {}, `difference from ${control}${RELATIVE.includes(name) ? ", as a part of it" : ""}`),
      lines(`difference from ${control}`, { series: others.map((arm) => line(arm, "difference")), level: { y: 0, name: "no difference" }, bounds: bounds(-1), ...axis, y: (value) => gap(name)(value).replace(" points", "") }),
    ),
  );
}
