// Show what each setting of a dial would have cost and kept, on the requests of the log.

import { lines } from "./charts.js";
import { count, h, percent, select, show, usd } from "./dom.js";
import { workForm } from "./workform.js";

const SPANS = { 7: "7 days", 30: "30 days", 90: "90 days", 365: "a year" };
const FLOORS = { 0.9: "90%", 0.95: "95%", 0.97: "97%", 0.99: "99%", 1: "all" };
const TOLD = {
  "as now": "as now",
  kept: "the quality stays above the floor",
  lost: "the quality falls below the floor",
  "not known": "the data cannot tell whether the quality stays above the floor",
};
const kept = { days: 30, floor: 0.97, result: null };

export function open(place, failed) {
  const choice = (title, name, options) =>
    h("label", {}, title, select(title, options, kept[name], (value) => { kept[name] = Number(value); }));
  return workForm(place, {
    path: "learning/sweep",
    about: "Moves one dial at a time, and estimates from the answers that were graded what each setting would have cost and kept.",
    start: "Sweep",
    fields: [choice("Requests of", "days", SPANS), choice("Quality to keep", "floor", FLOORS)],
    body: () => ({ days: kept.days, floor: kept.floor }),
    shown,
    kept,
    failed,
  });
}

function shown({ sweep, evidence }) {
  return [
    h("section", {}, evidence.map((line) => h("p", { class: "small" }, line))),
    sweep.curves.map((curve) => h("section", {}, explorer(curve, sweep.floor))),
  ];
}

/** Show the curve of a dial, with a slider that goes from setting to setting. */
function explorer(curve, floor) {
  const settings = curve.points.filter((point) => point.value !== null).sort((a, b) => a.value - b.value);
  const best = settings.findIndex((point) => point.value === curve.best);
  const start = best >= 0 ? best : Math.max(0, settings.findIndex((point) => !point.moved));
  const now = Object.entries(curve.now).map(([where, value]) => `${where} ${value ?? "calibrated"}`).join(", ");
  const title = [h("h2", {}, curve.dial, h("span", { class: "muted small" }, ` now: ${now}`)), h("p", {}, curve.told)];
  if (!settings.length) return title;
  const chart = h("div");
  const told = h("div", { "aria-live": "polite" });
  const setting = h("output");
  const slider = h("input", { type: "range", min: 0, max: settings.length - 1, step: 1, value: start, "aria-label": curve.dial, oninput: move });
  move();
  return [
    ...title,
    h("label", {}, `${curve.dial}: `, setting, slider),
    told,
    chart,
    h("p", { class: "muted small" }, "From left to right: the share of today's cost that is saved. From bottom to top: the share of today's quality that is kept, with its 95% interval. A ring marks the setting that saves most above the floor."),
    floor.absolute || best < 0 ? null : h("p", { class: "small" }, "To set it: ", h("code", {}, `semroute sweep --dial ${curve.dial} --floor ${floor.value} --write`)),
  ];

  function move() {
    const point = settings[slider.value];
    setting.textContent = String(point.value);
    show(told, costs(point, curve.points.find((one) => one.value === null)));
    show(chart, picture(curve, settings, point, floor));
  }
}

/** The API tells an interval as `[value, low, high]`. */
const span = ([value, low, high]) => `${percent(value)} (${percent(low)} to ${percent(high)})`;

function costs(point, now) {
  const saves = point.saving[0] >= 0 ? `saves ${span(point.saving)} of the cost` : `costs ${percent(-point.saving[0])} more`;
  return [
    h("p", { class: "headline" }, saves, point.retained ? `, keeps ${span(point.retained)} of the quality` : ", and no answer tells what it keeps of the quality"),
    h("p", { class: "small" }, `${usd(point.cost_usd)} a request${now ? ` instead of ${usd(now.cost_usd)}` : ""}. ${percent(point.moved)} of the requests get another model. In short: ${TOLD[point.verdict]}.`),
    point.more_labels ? h("p", { class: "small muted" }, `About ${count(point.more_labels)} more comparisons of moved requests would tell.`) : null,
  ];
}

function picture(curve, settings, chosen, floor) {
  const points = settings
    .map(({ value, saving, retained }) => ({
      x: saving[0],
      y: retained?.[0] ?? null,
      low: retained?.[1],
      high: retained?.[2],
      moved: value === curve.best,
      told: `${value}: saves ${percent(saving[0])}, keeps ${retained ? span(retained) : "an unknown share"}`,
    }))
    .sort((a, b) => a.x - b.x);
  return lines(`${curve.dial}: cost against quality`, {
    series: [{ name: curve.dial, points, colour: 0 }],
    level: floor.absolute ? undefined : { y: floor.value, name: "floor" },
    here: chosen.saving[0],
    x: percent,
    y: percent,
  });
}
