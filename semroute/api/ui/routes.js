// The routes in service, and the models.

import { ask } from "./api.js";
import { h, show, table, usd } from "./dom.js";

export async function open(place) {
  const [routes, models] = await Promise.all([ask("GET", "routes"), ask("GET", "v1/models")]);
  const real = models.data.filter((model) => model.owned_by !== "semroute");
  show(
    place,
    h(
      "section",
      {},
      h("h2", {}, `Routes, version ${routes.config_version}`),
      table(
        [
          ["route", (row) => row.name],
          ["description", (row) => row.description],
          ["utterances", (row) => row.utterances, true],
          ["threshold", (row) => row.threshold ?? "calibrated", true],
          ["models", (row) => row.models.join(", ")],
        ],
        routes.routes,
      ),
      h("p", { class: "muted small" }, `Prompts that match no route go to ${routes.default.join(", ")}.`),
    ),
    h(
      "section",
      {},
      h("h2", {}, "Models"),
      table(
        [
          ["model", (row) => row.id],
          ["provider", (row) => row.owned_by],
          ["name at the provider", (row) => row.metadata.name],
          ["tier", (row) => row.metadata.tier ?? "–"],
          ["context", (row) => row.metadata.context_tokens?.toLocaleString("en") ?? "–", true],
          ["USD per 1M in", (row) => usd(row.metadata.input_price), true],
          ["out", (row) => usd(row.metadata.output_price), true],
          ["features", (row) => row.metadata.features.join(", ")],
        ],
        real,
      ),
    ),
  );
}
