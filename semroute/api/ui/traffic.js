// Show what was asked, what it cost and what was saved.

import { ask, query } from "./api.js";
import { count, counted, h, ms, percent, s, select, show, table, usd } from "./dom.js";

const EVERY_MS = 10_000;
const SPANS = { 1: "today", 7: "7 days", 30: "30 days", 90: "90 days" };
const DIMENSIONS = ["model", "route", "tier", "key", "team", "feature"];
const DAY_MS = 86_400_000;

const chosen = { days: 30, by: "model" };

export async function open(place, _, failed) {
  const days = select("span", SPANS, chosen.days, (value) => { chosen.days = Number(value); draw(); });
  const by = select("by", Object.fromEntries(DIMENSIONS.map((name) => [name, name])), chosen.by, (value) => {
    chosen.by = value;
    draw();
  });
  const body = h("div");
  show(place, h("section", { class: "row" }, h("label", {}, "Over", days), h("label", {}, "By", by)), body);
  let latest = 0;

  async function draw() {
    const turn = ++latest;
    try {
      const today = Date.now();
      const span = { since: isoDay(today - (chosen.days - 1) * DAY_MS), until: isoDay(today) };
      const dimensions = ["all", "day", chosen.by];
      const [all, perDay, rows, budgets] = await Promise.all([
        ...dimensions.map((dimension) => ask("GET", query("stats", { by: dimension, ...span }))),
        ask("GET", "budgets"),
      ]);
      if (turn === latest) show(body, parts(all.rows[0], everyDay(perDay.rows, span), rows.rows, budgets.budgets));
    } catch (error) {
      if (turn === latest) failed(error);
    }
  }

  await draw();
  const timer = setInterval(() => { if (!document.hidden) draw(); }, EVERY_MS);
  return () => { clearInterval(timer); latest++; };
}

const isoDay = (time) => new Date(time).toISOString().slice(0, 10);

/** Return a row for each day of the span, also for days without requests. */
function everyDay(rows, span) {
  const known = new Map(rows.map((row) => [row.value, row]));
  const days = [];
  for (let time = Date.parse(span.since); time <= Date.parse(span.until); time += DAY_MS) {
    days.push(known.get(isoDay(time)) ?? { value: isoDay(time), requests: 0, cost_usd: 0, saved_usd: 0 });
  }
  return days;
}

function parts(all, days, rows, budgets) {
  if (!all?.requests) return h("section", {}, h("p", { class: "muted" }, "No requests in this span."));
  return [
    tiles(all),
    h(
      "section",
      {},
      h("h2", {}, "USD a day", h("span", { class: "muted small" }, ` up to ${usd(most(days, ["cost_usd", "saved_usd"]))}`)),
      legend(),
      stacked(days, ["cost_usd", "saved_usd"], ["spent", "saved"], (day) =>
        `${day.value}: ${usd(day.cost_usd)} spent, ${usd(day.saved_usd)} saved`),
      h("h2", {}, "Requests a day", h("span", { class: "muted small" }, ` up to ${count(most(days, ["requests"]))}`)),
      stacked(days, ["requests"], ["requests"], (day) => `${day.value}: ${counted(day.requests, "request")}`),
      h("div", { class: "axis" }, h("span", {}, days[0].value), h("span", {}, days.at(-1).value)),
    ),
    budgets.length ? budgetSection(budgets) : null,
    h("section", {}, h("h2", {}, `By ${chosen.by}`), statistics(rows)),
  ];
}

function tiles(all) {
  const without = all.cost_usd + all.saved_usd;
  const figures = [
    ["requests", count(all.requests)],
    ["spent", usd(all.cost_usd)],
    ["saved", usd(all.saved_usd), without > 0 ? `${percent(all.saved_usd / without)} of the baseline` : ""],
    ["median latency", ms(all.latency_ms.p50), `p95 ${ms(all.latency_ms.p95)}`],
    ["errors", percent(all.error_rate)],
    ["fallbacks", percent(all.fallback_rate)],
    ["no route", percent(all.abstention_rate)],
    ["misrouted", percent(all.misroute_rate), `${counted(all.misroutes, "request")}, ${counted(all.labels, "label")}`],
    ["quality", percent(all.quality), counted(all.feedbacks, "rating")],
  ];
  return h(
    "div",
    { class: "tiles" },
    figures.map(([name, figure, note]) =>
      h("div", {}, h("span", { class: "muted small" }, name), h("b", {}, figure), h("span", { class: "muted small" }, note ?? ""))),
  );
}

const legend = () =>
  h("p", { class: "legend small muted" }, h("i", { class: "spent" }), "spent", h("i", { class: "saved" }), "saved against the baseline");

/** Return the height of the highest bar. */
const most = (days, figures) =>
  Math.max(...days.map((day) => figures.reduce((sum, name) => sum + Math.max(day[name], 0), 0)));

/** Draw a bar for each day. The figures of a day are stacked. */
function stacked(days, figures, classes, tell) {
  const full = most(days, figures) || 1;
  const width = 100 / days.length;
  const bars = days.map((day, place) => {
    let top = 100;
    const parts = figures.map((name, which) => {
      const height = (100 * Math.max(day[name], 0)) / full;
      top -= height;
      return s("rect", { class: classes[which], x: place * width + width * 0.1, y: top, width: width * 0.8, height });
    });
    const touch = s("rect", { x: place * width, y: 0, width, height: 100, fill: "transparent" });
    return s("g", {}, parts, touch, s("title", {}, tell(day)));
  });
  const chart = { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": classes.join(" and ") };
  return s("svg", chart, bars);
}

function statistics(rows) {
  return table(
    [
      [chosen.by, (row) => row.name || row.value || "–"],
      ["requests", (row) => count(row.requests), true],
      ["share", (row) => percent(row.share), true],
      ["spent", (row) => usd(row.cost_usd), true],
      ["saved", (row) => usd(row.saved_usd), true],
      ["p50", (row) => ms(row.latency_ms.p50), true],
      ["p95", (row) => ms(row.latency_ms.p95), true],
      ["first token", (row) => ms(row.first_token_ms.p50), true],
      ["errors", (row) => percent(row.error_rate), true],
      ["fallbacks", (row) => percent(row.fallback_rate), true],
      ["escalated", (row) => percent(row.escalation_rate), true],
      ["misrouted", (row) => percent(row.misroute_rate), true],
      ["no route", (row) => percent(row.abstention_rate), true],
      ["quality", (row) => percent(row.quality), true],
    ],
    rows,
  );
}

function budgetSection(budgets) {
  return h(
    "section",
    {},
    h("h2", {}, "Budgets"),
    table(
      [
        ["budget", (row) => row.name],
        ["limit", (row) => usd(row.limit_usd), true],
        ["spent", (row) => usd(row.spent_usd), true],
        ["share", (row) => percent(row.share), true],
      ],
      budgets,
    ),
  );
}
