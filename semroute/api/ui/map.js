// The map of the utterances, and a typed prompt on it.

import { ApiError, ask } from "./api.js";
import { counted, h, percent, s, show } from "./dom.js";
import { sign, signed } from "./symbols.js";

const SCALE = 100;
const NEAR = 7;
const LABELLED = 40;
const WAIT_MS = 250;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let last = "";

export async function open(place, _, failed) {
  let drawn;
  const told = h("p", { class: "small", "aria-live": "polite" }, "Point at a sign, or use the arrow keys on the map.");
  const where = h("div", { "aria-live": "polite" }, h("p", { class: "muted" }, "Type a prompt, and it appears on the map."));
  const prompt = h("textarea", { rows: 4, "aria-label": "prompt on the map", placeholder: "why was I charged twice?", oninput: typed });
  prompt.value = last;
  const side = h("section", {}, h("label", {}, "A prompt", prompt), where, h("h3", {}, "Routes"), h("div", { class: "legend-list" }));
  const picture = h("section", {});
  show(place, h("div", { class: "columns" }, side, picture));
  let timer = 0;
  let turn = 0;
  let asking = new AbortController();

  function typed() {
    clearTimeout(timer);
    timer = setTimeout(put, WAIT_MS);
  }

  /** Put the prompt on the map. */
  async function put() {
    const mine = ++turn;
    asking.abort();
    asking = new AbortController();
    last = prompt.value;
    if (!last.trim()) {
      drawn.mark(null);
      show(where, h("p", { class: "muted" }, "Type a prompt, and it appears on the map."));
      return;
    }
    try {
      const found = await ask("POST", "learning/map", { prompt: last }, asking.signal);
      if (found.config_version !== drawn.version) await draw();
      if (mine !== turn) return;
      drawn.mark(found);
      show(where, placed(found));
    } catch (error) {
      if (mine !== turn) return;
      if (error instanceof ApiError && error.status === 401) failed(error);
      show(where, h("p", { class: "error" }, error.message));
    }
  }

  async function draw() {
    const found = await ask("GET", "learning/map");
    drawn = new Drawing(found, told);
    const less = found.points.length < found.utterances ? `${counted(found.points.length, "utterance")} of ${found.utterances}` : counted(found.utterances, "utterance");
    show(
      picture,
      h("h2", {}, "Utterances ", h("span", { class: "muted small" }, `${less}, coloured by route`)),
      drawn.svg,
      told,
      h(
        "p",
        { class: "muted small" },
        "A route draws what resembles its utterances. What resembles several routes lies between them, and what resembles none lies near the centre. Routes that are alike are neighbours.",
      ),
    );
    show(side.querySelector(".legend-list"), drawn.legend);
  }

  await draw();
  if (last.trim()) put();
  return () => { clearTimeout(timer); turn++; asking.abort(); };
}

function placed(found) {
  const [best, ...others] = found.candidates;
  return [
    h("p", { class: "headline" }, found.route ?? "no route"),
    best
      ? h(
          "p",
          { class: "small" },
          `${best.route}: confidence ${best.confidence.toFixed(3)}, threshold ${best.threshold.toFixed(3)}. `,
          best.nearest ? `Nearest: “${best.nearest.utterance}”, similarity ${best.nearest.similarity.toFixed(2)}. ` : "",
          found.in_scope === null ? "" : `In scope ${percent(found.in_scope)}.`,
        )
      : null,
    others.length ? h("p", { class: "small muted" }, `Then ${others.map((other) => `${other.route} ${other.confidence.toFixed(3)}`).join(", ")}.`) : null,
  ];
}

/** The picture, its legend, and the point of the prompt. */
class Drawing {
  constructor(map, told) {
    this.version = map.config_version;
    this.map = map;
    this.told = told;
    // The signs follow each other around the circle, so that neighbours differ.
    const around = map.routes.map((_, number) => number).sort((a, b) => angle(map.routes[a]) - angle(map.routes[b]));
    this.signs = new Map(around.map((route, number) => [route, number]));
    this.chosen = new Set();
    this.at = null;
    this.groups = map.routes.map((route, number) => s("g", { "data-route": route.name }, this.points(number)));
    this.ring = s("circle", { class: "ring", r: 4, visibility: "hidden" });
    this.prompt = s("g", { class: "prompt", visibility: "hidden" });
    this.svg = s(
      "svg",
      {
        class: "map",
        viewBox: "-165 -122 330 244",
        tabindex: 0,
        role: "group",
        "aria-label": `Map of ${counted(map.points.length, "utterance")} of ${counted(map.routes.length, "route")}. The arrow keys go from point to point.`,
        onpointermove: (event) => this.point(this.nearest(this.place(event))),
        onpointerleave: () => this.point(null),
        onkeydown: (event) => this.pressed(event),
      },
      s("circle", { class: "circle", r: SCALE }),
      s("path", { class: "circle", d: "M-3 0H3M0 -3V3" }),
      map.routes.length > LABELLED ? [] : map.routes.map((route) => this.label(route)),
      this.groups,
      this.ring,
      this.prompt,
    );
    this.legend = around.map((number) => this.entry(number));
  }

  points(number) {
    return this.map.points.filter((point) => point.route === number).map((point) => sign(this.signs.get(number), SCALE * point.x, -SCALE * point.y, 1.6));
  }

  label(route) {
    const [x, y] = [SCALE * 1.19 * route.x, -SCALE * 1.13 * route.y];
    const anchor = Math.abs(route.x) < 0.2 ? "middle" : route.x > 0 ? "start" : "end";
    return s("text", { x, y, "text-anchor": anchor, "dominant-baseline": "middle" }, route.name);
  }

  /** Make an entry of the legend. It shows its route alone, or with others that were chosen. */
  entry(number) {
    const { name, utterances } = this.map.routes[number];
    const button = h(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        onclick: () => {
          if (!this.chosen.delete(number)) this.chosen.add(number);
          button.setAttribute("aria-pressed", String(this.chosen.has(number)));
          for (const [place, group] of this.groups.entries()) {
            group.classList.toggle("dim", this.chosen.size > 0 && !this.chosen.has(place));
          }
        },
      },
      signed(this.signs.get(number)),
      ` ${name} `,
      h("span", { class: "muted" }, utterances),
    );
    return button;
  }

  shown() {
    return this.map.points.filter((point) => !this.chosen.size || this.chosen.has(point.route));
  }

  place(event) {
    const matrix = this.svg.getScreenCTM().inverse();
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    return { x: x / SCALE, y: -y / SCALE };
  }

  nearest(place) {
    const [best] = this.shown().map((point) => [distance(point, place), point]).sort((a, b) => a[0] - b[0]);
    return best && best[0] * SCALE < NEAR ? best[1] : null;
  }

  /** Go to the next point in the direction of an arrow key. */
  pressed(event) {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const from = this.at ?? { x: 0, y: 0 };
    const cost = (point) => {
      const [along, aside] = [(point.x - from.x) * way[0] - (point.y - from.y) * way[1], (point.x - from.x) * way[1] + (point.y - from.y) * way[0]];
      return along > 1e-6 ? along + 3 * Math.abs(aside) : Infinity;
    };
    const [best] = this.shown().filter((point) => point !== this.at).map((point) => [cost(point), point]).sort((a, b) => a[0] - b[0]);
    if (best && best[0] < Infinity) this.point(best[1]);
  }

  /** Tell the text of a point. */
  point(point) {
    if (point === this.at) return;
    this.at = point;
    this.ring.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return;
    this.ring.setAttribute("transform", `translate(${SCALE * point.x} ${-SCALE * point.y})`);
    show(this.told, h("b", {}, this.map.routes[point.route].name), `: ${point.text}`);
  }

  /** Show where the prompt is. None: there is no prompt. */
  mark(found) {
    this.prompt.setAttribute("visibility", found ? "visible" : "hidden");
    if (!found) return;
    const [x, y] = [SCALE * found.x, -SCALE * found.y];
    this.prompt.setAttribute("transform", `translate(${x} ${y})`);
    const told = `your prompt: ${found.route ?? "no route"}`;
    this.prompt.setAttribute("aria-label", told);
    this.prompt.replaceChildren(
      s("title", {}, told),
      s("circle", { r: 5.5 }),
      s("path", { d: "M0 -9V9M-9 0H9" }),
      s("text", { x: x > 0 ? -8 : 8, y: -7, "text-anchor": x > 0 ? "end" : "start" }, "your prompt"),
    );
  }
}

const angle = ({ x, y }) => Math.atan2(y, x);
const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
