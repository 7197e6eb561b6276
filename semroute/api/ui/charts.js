// Charts as SVG.

import { h, s } from "./dom.js";

const [WIDTH, HEIGHT] = [460, 190];
const [LEFT, RIGHT, TOP, BOTTOM] = [54, 10, 10, 24];

/**
 * Draw lines. `series`: `{name, points: [{x, y, low, high, moved, told}], colour}`; a point with `y` null is left out,
 * and `low` and `high` draw a band, or an upright line if only one point has them. `level`: `{y, name}` draws a dashed line across. `here`: marks this x.
 * `bounds`: `[least, most]` that `y` can be; the axis does not go beyond. Not set: figures above 0 stay above it.
 * `x`, `y`: make texts of the figures at the axes. `xs`: where the x axis has figures; not set: three of the points.
 */
export function lines(name, { series, level, here, bounds, x, y, xs }) {
  const every = series.flatMap(({ points }) => points).filter((point) => point.y !== null);
  if (!every.length) return h("p", { class: "muted small" }, `${name}: nothing to draw`);
  const across = extent(every.map((point) => point.x));
  const heights = every.flatMap(({ y: value, low, high }) => [value, low ?? value, high ?? value]);
  const up = padded(extent(level ? [...heights, level.y] : heights), bounds);
  const px = (value) => LEFT + ((value - across[0]) / (across[1] - across[0] || 1)) * (WIDTH - LEFT - RIGHT);
  const py = (value) => HEIGHT - BOTTOM - ((value - up[0]) / (up[1] - up[0])) * (HEIGHT - TOP - BOTTOM);
  const ticks = [0, 0.5, 1].map((share) => up[0] + share * (up[1] - up[0]));
  const feet = xs ?? (across[0] === across[1] ? [across[0]] : [across[0], (across[0] + across[1]) / 2, across[1]]);
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name },
    ticks.map((value) => [
      s("path", { class: "grid", d: `M${LEFT} ${py(value)}H${WIDTH - RIGHT}` }),
      s("text", { x: LEFT - 6, y: py(value) + 4, "text-anchor": "end" }, y(value)),
    ]),
    feet.map((value, place) =>
      s("text", { x: px(value), y: HEIGHT - 8, "text-anchor": ["start", "middle", "end"][xs ? 1 : place] }, x(value))),
    level
      ? [s("path", { class: "dashed", d: `M${LEFT} ${py(level.y)}H${WIDTH - RIGHT}` }, s("title", {}, level.name)),
        s("text", { x: WIDTH - RIGHT, y: py(level.y) - 4, "text-anchor": "end" }, level.name)]
      : null,
    here === undefined ? null : s("path", { class: "here", d: `M${px(here)} ${TOP}V${HEIGHT - BOTTOM}` }),
    series.map((one, number) => drawn(one, `colour-${one.colour ?? number}`, px, py)),
  );
}

function drawn({ points, name }, colour, px, py) {
  const known = points.filter((point) => point.y !== null);
  const banded = known.filter(({ low, high }) => low !== undefined && low !== null && high !== null);
  const edge = (key, some) => some.map((point) => `${px(point.x)} ${py(point[key])}`);
  const band = banded.length > 1 ? `M${[...edge("low", banded), ...edge("high", [...banded].reverse())].join("L")}Z` : null;
  return s(
    "g",
    {},
    band ? s("path", { class: `${colour} band`, d: band }) : null,
    banded.length === 1 ? s("path", { class: `${colour} line`, d: `M${edge("low", banded)}L${edge("high", banded)}` }) : null,
    known.length ? s("path", { class: `${colour} line`, d: `M${edge("y", known).join("L")}` }) : null,
    known.map((point) =>
      s("circle", { class: point.moved ? "moved" : colour, cx: px(point.x), cy: py(point.y), r: point.moved ? 4.5 : 3 }, s("title", {}, point.told ?? `${name}: ${point.y}`))),
  );
}

const extent = (values) => [Math.min(...values), Math.max(...values)];

/** Leave room around a span. Bounds give way to figures that are beyond them. */
function padded([low, high], [least, most] = [low >= 0 ? 0 : -Infinity, Infinity]) {
  const room = (high - low) * 0.1 || Math.abs(high) * 0.1 || 0.01;
  return [Math.max(low - room, Math.min(low, least)), Math.min(high + room, Math.max(high, most))];
}
