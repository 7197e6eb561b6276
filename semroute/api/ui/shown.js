// Show a decision, in the trial and in the log.

import { chip, h, meter, ms, percent, table, usd } from "./dom.js";

/** Show where the request went and why, then the candidates, the words and the plan. */
export function decisionParts(decision) {
  return [headline(decision), candidates(decision), pieces(decision.details), words(decision.details), difficulty(decision), plan(decision)];
}

function headline(decision) {
  const chips = [decision.reason, ...decision.narrowed_by.map((rule) => `rule ${rule} left models out`)];
  if (decision.rule) chips.push(`rule ${decision.rule}`);
  if (decision.thrift) chips.push(`budget: ${percent(decision.thrift)} toward cheap`);
  return h(
    "div",
    {},
    h("p", { class: "headline" }, decision.route ?? "no route", " → ", decision.model ?? (decision.answer == null ? "no model can be called" : "its own answer")),
    h("p", {}, chips.flatMap((text) => [chip(text), " "]), decision.explanation),
    decision.not_compared.map((text) => h("p", { class: "small error" }, `not compared: ${text}`)),
  );
}

function candidates(decision) {
  if (!decision.candidates.length) return null;
  const shown = decision.candidates.map((candidate) => {
    const { confidence, threshold, nearest } = candidate;
    const told = `${candidate.route}: confidence ${percent(confidence)}, threshold ${percent(threshold)}`;
    return h(
      "div",
      {},
      h("b", {}, candidate.route),
      ` ${confidence.toFixed(3)} `,
      h("span", { class: "muted small" }, `threshold ${threshold.toFixed(3)}, ${candidate.threshold_from}`),
      meter(confidence, threshold, told),
      nearest
        ? h("p", { class: "muted small" }, `nearest: “${nearest.utterance}”, similarity ${nearest.similarity.toFixed(2)}`)
        : null,
    );
  });
  const inScope = decision.in_scope === null ? "" : `, in scope ${percent(decision.in_scope)}`;
  return h("div", {}, h("h3", {}, `Candidates${inScope}, margin ${decision.margin.toFixed(3)}`), shown);
}

/** Mark what was asked, and dim the material around it. */
function pieces(details) {
  if (!details?.pieces?.some((piece) => !piece.asked || piece.earlier)) return null;
  const spans = details.pieces.map((piece) =>
    h(piece.asked ? "mark" : "span", { title: piece.earlier ? "asked in an earlier turn" : piece.asked ? "asked" : "material" }, piece.text),
  );
  return h("div", {}, h("h3", {}, "What is asked"), h("p", { class: "pieces" }, spans.flatMap((span) => [span, " "])));
}

/** Colour the words by the confidence that each carried. A word is underlined if the decision changes without it. */
function words(details) {
  if (!details || !(details.words.length || details.flip)) return null;
  const most = Math.max(...details.words.map((word) => Math.abs(word.effect)), 1e-9);
  const usual = mostFrequent(details.words.map((word) => word.route_without));
  const spans = details.words.map((word) => {
    const share = Math.round((60 * Math.abs(word.effect)) / most);
    const colour = word.effect < 0 ? "var(--bad)" : "var(--accent)";
    const without = word.route_without ?? "no route";
    return h(
      "span",
      {
        title: `${word.effect >= 0 ? "+" : ""}${word.effect.toFixed(4)}; without it: ${without}`,
        "data-flips": word.route_without !== usual,
        style: { background: `color-mix(in srgb, ${colour} ${share}%, transparent)` },
      },
      word.text,
    );
  });
  return h(
    "div",
    {},
    h("h3", {}, "How much each word counted"),
    h("p", { class: "words" }, spans.flatMap((span) => [span, " "])),
    details.flip ? h("p", { class: "small" }, `What would have changed it: ${details.flip.explanation}.`) : null,
  );
}

function mostFrequent(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

function difficulty(decision) {
  if (decision.difficulty === null && decision.wants === null) return null;
  const parts = Object.entries(decision.contributions).map(([name, value]) => `${name} ${value.toFixed(2)}`);
  const wants = decision.wants ? `, wants ${decision.wants}` : "";
  const figure = decision.difficulty === null ? "no telling" : decision.difficulty.toFixed(2);
  return h("div", {}, h("h3", {}, "Difficulty"), h("p", { class: "small" }, `${figure}${wants}. ${parts.join(", ")}`));
}

function plan(decision) {
  const rejected = Object.entries(decision.rejected);
  const dial = decision.cost_quality === null ? "" : `, dial at ${decision.cost_quality}`;
  return h(
    "div",
    {},
    h("h3", {}, `Plan${dial}`),
    table(
      [
        ["model", (row) => row.model],
        ["why", (row) => row.why],
        ["tier", (row) => row.tier ?? "–"],
        ["quality", (row) => row.quality?.toFixed(2) ?? "–", true],
        ["expected cost", (row) => usd(row.cost_usd), true],
        ["latency", (row) => ms(row.latency_ms), true],
      ],
      decision.plan_details,
    ),
    rejected.length ? h("h3", {}, "Left out") : null,
    rejected.map(([model, why]) => h("p", { class: "small" }, h("b", {}, model), `: ${why}`)),
  );
}
