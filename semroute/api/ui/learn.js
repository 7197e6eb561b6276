// What the log teaches: a view with parts, each loaded when it is opened.

import { h, show } from "./dom.js";

const PARTS = {
  replay: ["Replay", () => import("./replay.js")],
  sweep: ["Sweep", () => import("./sweep.js")],
  drift: ["Drift", () => import("./drift.js")],
  suggest: ["Suggestions", () => import("./suggest.js")],
  experiments: ["Experiments", () => import("./experiments.js")],
};

export async function open(place, [name], failed) {
  const current = name in PARTS ? name : "replay";
  const links = Object.entries(PARTS).map(([part, [title]]) =>
    h("a", { href: `#learn/${part}`, "aria-current": part === current ? "page" : null }, title));
  const body = h("div");
  show(place, h("nav", { class: "subnav", "aria-label": "what to learn" }, links), body);
  const part = await PARTS[current][1]();
  return part.open(body, failed);
}
