// Suggest utterances and routes from the log, to copy into route files.

import { count, h, select } from "./dom.js";
import { workForm } from "./workform.js";

const SPANS = { 7: "7 days", 30: "30 days", 90: "90 days", 365: "a year" };
const TOLD_MS = 1500;
const kept = { days: 30, result: null };

export function open(place, failed) {
  const days = select("span", SPANS, kept.days, (value) => { kept.days = Number(value); });
  return workForm(place, {
    path: "learning/suggest",
    about: "Looks for utterances and routes that are missing, in the prompts that no route was sure of and in the feedback. Nothing is applied: copy what is right into a file of the routes folder.",
    start: "Suggest",
    fields: [h("label", {}, "Requests of", days)],
    body: () => ({ days: kept.days }),
    shown,
    kept,
    failed,
  });
}

function shown({ read, file, suggestions }) {
  return [
    h(
      "section",
      {},
      h("p", { class: "headline" }, suggestions.length ? `${suggestions.length} suggestions` : "nothing to suggest"),
      h("p", { class: "small muted" }, `${count(read.rows)} rows read, ${count(read.prompts)} different prompts, ${count(read.labelled)} with feedback that names or confirms a route.`),
      suggestions.map(({ title, file: part }) => h("details", {}, h("summary", {}, title), copied(part))),
    ),
    h("section", {}, h("h2", {}, "All as one file"), copied(file)),
  ];
}

/** Show a text with a button that copies it. */
function copied(text) {
  const shownText = h("pre", { tabindex: 0 }, text);
  const button = h("button", { type: "button", onclick: copy }, "Copy");
  return h("div", {}, h("p", {}, button), shownText);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shownText);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, TOLD_MS);
  }
}
