import { byId, el, replace, table } from "./dom.js";
import { monthDay, num, percent, span } from "./format.js";
import { bar, lines } from "./charts.js";
import { follow, get } from "./live.js";

async function load() {
  const found = await get("/api/funnel");
  if (!found.journeys) {
    byId("basis").textContent = "No profiles in the state store yet. Play events in: rapport play FILE; the funnel is read every 15 seconds.";
    return;
  }
  const of = found.read < found.customers ? `a sample of ${num(found.read)} of ${num(found.customers)} profiles` : `all ${num(found.read)} profiles`;
  byId("basis").textContent = `${num(found.journeys)} journeys, read from ${of} every 15 seconds; devices that became a user count with the user. A journey starts over after 30 days of silence.`;
  const { reached, standing, stages, medians_ms: medians } = found;
  const rows = stages.map((stage, i) => {
    const before = i ? reached[i - 1] : null;
    return [
      stage,
      el("div", {}, bar(reached[0] ? reached[i] / reached[0] : 0, `${percent(reached[0] ? reached[i] / reached[0] : 0)} of all journeys`)),
      num(reached[i]),
      percent(reached[0] ? reached[i] / reached[0] : null),
      before === null ? "" : percent(before ? reached[i] / before : null),
      before === null ? "" : num(Math.max(0, before - reached[i])),
      num(standing[i]),
      i + 1 < stages.length ? span(medians[i]) : "",
    ];
  });
  replace(byId("stages"), table("Journeys that reached each stage, those still under way included",
    [{ name: "stage", head: true }, { name: "of all journeys", left: true }, { name: "reached", unit: "journeys" }, { name: "of all", unit: "share", opt: true }, { name: "of the stage before", unit: "share" }, { name: "not reached", unit: "of the stage before", opt: true }, { name: "stand here now", unit: "journeys", opt: true }, { name: "to the next", unit: "median", opt: true }],
    rows, ""));
  const step = found.step_days === 1 ? "day" : "week";
  const cohorts = found.cohorts.filter((c) => c[1] >= 5);
  lines(byId("conversion"), {
    title: "Conversion to purchase", unit: `share of journeys begun in that ${step}, %`, x: cohorts.map((c) => c[0]), xText: monthDay, xName: step, area: true, dots: cohorts.length < 40,
    yText: (v) => `${num(v)} %`, series: [{ name: "reached purchase", values: cohorts.map(([, began, bought]) => (100 * bought) / began) }],
    empty: `Needs two ${step}s with at least five journeys each.`,
  });
  const entries = found.entries;
  lines(byId("entries"), {
    title: "Stage entries", room: 4, whole: true, unit: `per ${step}`, x: entries.map((e) => e[0]), xText: monthDay, xName: step,
    series: [["intent", 4], ["purchase", 5], ["loyalty", 6]].map(([name, i]) => ({ name, values: entries.map((e) => e[i]) })), empty: `Needs two ${step}s.`,
  });
}

follow("funnel", load, 2000);
