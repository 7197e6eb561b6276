// The frame of the page: the view, the reader's key, and the health of the service.

import { ApiError, ask, forgetKey, hasKey, useKey } from "./api.js";
import { counted, h, show } from "./dom.js";
import * as decisions from "./decisions.js";
import * as routes from "./routes.js";
import * as traffic from "./traffic.js";
import * as trying from "./try.js";

const HEALTH_EVERY_MS = 10_000;
// The views that not everybody opens are loaded when they are needed.
const VIEWS = { try: trying, traffic, decisions, routes, map: () => import("./map.js"), learn: () => import("./learn.js") };

const view = document.getElementById("view");
const dialog = document.getElementById("dialog");
const health = document.getElementById("health");
let leave = () => {};

/** Show the view that the address names, such as `#decisions/ID`. */
async function turn() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const current = name in VIEWS ? name : "try";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave();
  leave = () => {};
  dialog.close();
  const place = h("div");
  show(view, place);
  const failed = (error) => {
    if (error instanceof ApiError && error.status === 401) askForKey(error.message);
    show(place, h("section", {}, h("p", { class: "error" }, error.message)));
  };
  try {
    const found = VIEWS[current];
    const shown = typeof found === "function" ? await found() : found;
    leave = (await shown.open(place, rest.map(decodeURIComponent), failed)) ?? (() => {});
  } catch (error) {
    failed(error);
  }
}

/** Ask for an access key. The key is kept until the tab is closed, and sent only to this service. */
function askForKey(why) {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "access key", placeholder: "sr-…" });
  const form = h(
    "form",
    {
      method: "dialog",
      onsubmit: () => {
        if (field.value.trim()) useKey(field.value.trim());
        turn();
      },
    },
    h("h2", {}, "Access key"),
    why ? h("p", { class: "error" }, why) : null,
    h("p", { class: "muted small" }, "The key is kept until this tab is closed, and sent only to this service."),
    field,
    h(
      "div",
      { class: "row" },
      h("button", { class: "main" }, "Use it"),
      hasKey() ? h("button", { type: "button", onclick: () => { forgetKey(); turn(); } }, "Forget it") : null,
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
    ),
  );
  show(dialog, form);
  if (!dialog.open) dialog.showModal();
}

async function look() {
  try {
    const found = await ask("GET", "health/ready");
    health.dataset.state = found.status;
    health.title = found.warnings.join("\n");
    const counts = [counted(found.routes, "route"), counted(found.models_available, "model")];
    if (found.warnings.length) counts.push(counted(found.warnings.length, "warning"));
    health.textContent = `${found.status}: ${counts.join(", ")}`;
  } catch (error) {
    health.dataset.state = "away";
    health.title = error.message;
    health.textContent = "the service does not answer";
  }
}

document.getElementById("key").addEventListener("click", () => askForKey(""));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
addEventListener("hashchange", turn);
setInterval(() => { if (!document.hidden) look(); }, HEALTH_EVERY_MS);
look();
turn();
