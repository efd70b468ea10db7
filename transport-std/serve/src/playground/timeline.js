// Draws the spans of each turn as a table of bars, newest turn first.

import { element } from "./view.js";

const LABELS = { model: "model request", tool: "tool call", wait: "waiting for an answer" };

export const seconds = (milliseconds) => (milliseconds < 1000 ? `${Math.max(0, Math.round(milliseconds))} ms` : `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 2 : 1)} s`);

export function drawTurn(turn, now) {
  const end = Math.max(turn.end ?? now, turn.start + 1);
  const length = end - turn.start;
  const percent = (time) => (100 * (time - turn.start)) / length;
  const rows = turn.spans.map((span) => {
    const stop = span.end ?? end;
    const bar = element("i", { class: `${span.kind}${span.failed ? " failed" : ""}` });
    bar.style.left = `${Math.min(percent(span.start), 99)}%`;
    bar.style.width = `${Math.max(percent(stop) - percent(span.start), 1)}%`;
    const label = `${LABELS[span.kind]}${span.failed ? ", failed" : ""}, after ${seconds(span.start - turn.start)}`;
    return element(
      "tr",
      {},
      element("th", { scope: "row", title: span.name }, span.name, element("span", { class: "hidden-text" }, ` (${label})`)),
      element("td", {}, element("div", { class: "track", title: label }, bar)),
      element("td", { class: "time" }, span.end === undefined ? "…" : seconds(stop - span.start)),
    );
  });
  const state = turn.end === undefined ? "running" : (turn.reason ?? "").replaceAll("_", " ");
  const { input, output } = turn.usage;
  return element(
    "section",
    { class: "turn" },
    element("h3", {}, `Turn ${turn.turn}`, element("small", {}, `${state} · ${seconds(length)}`)),
    rows.length ? element("table", {}, element("tbody", {}, ...rows)) : undefined,
    input + output ? element("p", { class: "tokens" }, `${input.toLocaleString()} tokens in, ${output.toLocaleString()} out`) : undefined,
  );
}
