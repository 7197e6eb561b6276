// Signs for routes. Each differs in colour and in form, so that nobody needs to tell colours apart.

import { s } from "./dom.js";

const COLOURS = 8;
const FORMS = [
  "M0 -1A1 1 0 1 1 0 1A1 1 0 1 1 0 -1Z",
  "M-.9 -.9H.9V.9H-.9Z",
  "M0 -1.2L1.1 .9H-1.1Z",
  "M0 -1.3L1.1 0L0 1.3L-1.1 0Z",
  "M0 1.2L1.1 -.9H-1.1Z",
  "M-.35 -1.1H.35V-.35H1.1V.35H.35V1.1H-.35V.35H-1.1V-.35H-.35Z",
  "M0 -1.3L.4 -.4L1.2 -.4L.6 .2L.8 1.1L0 .6L-.8 1.1L-.6 .2L-1.2 -.4L-.4 -.4Z",
];

/** Return the sign with a number, at a place, `size` high to each side. 56 signs differ. */
export const sign = (number, x, y, size) =>
  s("path", { class: `colour-${number % COLOURS}`, d: FORMS[number % FORMS.length], transform: `translate(${x} ${y}) scale(${size})` });

/** Return the sign as a small picture for a legend. */
export const signed = (number) => s("svg", { class: "sign", viewBox: "-2 -2 4 4", "aria-hidden": "true" }, sign(number, 0, 0, 1.3));
