// A form that starts work on the log, shows how far it is, and shows its result.

import { work } from "./api.js";
import { count, h, show } from "./dom.js";

/**
 * Show the form in a place, and return what to call when the view is left. The work ends then.
 * `fields`: elements of the form. `body`: returns what is sent, or a promise of it. `shown`: makes elements of the result.
 * `kept`: an object that keeps the last result for the next time.
 */
export function workForm(place, { path, about, start, fields, body, shown, kept, failed }) {
  let running = null;
  const told = h("p", { class: "small muted", role: "status" });
  const bar = h("progress", { hidden: true, "aria-label": "progress" });
  const begin = h("button", { class: "main" }, start);
  const stop = h("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Stop");
  const result = h("div", {}, kept.result ? shown(kept.result) : null);
  const form = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); run(); } }, fields, begin, stop);
  show(place, h("section", {}, h("p", { class: "muted small" }, about), form, bar, told), result);

  async function run() {
    const mine = new AbortController();
    running = mine;
    begin.disabled = true;
    stop.hidden = bar.hidden = false;
    progressed({ doing: "starting", done: 0, total: null });
    try {
      kept.result = await work(path, await body(), progressed, mine.signal);
      show(result, shown(kept.result));
      told.textContent = "";
    } catch (error) {
      if (error.status === 401) failed(error);
      told.replaceChildren(h("span", { class: "error" }, error.message));
    } finally {
      running = null;
      begin.disabled = false;
      stop.hidden = bar.hidden = true;
    }
  }

  function progressed({ doing, done, total }) {
    if (total) {
      bar.max = total;
      bar.value = done;
    } else {
      bar.removeAttribute("value");
    }
    told.textContent = total ? `${doing}: ${count(done)} of ${count(total)}` : done ? `${doing}: ${count(done)}` : doing;
  }

  return () => running?.abort();
}
