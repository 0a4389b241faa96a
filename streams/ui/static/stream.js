import { byId, el, replace, table, tiles } from "./dom.js";
import { clock, hour, minute, num, rate, second, span } from "./format.js";
import { lines } from "./charts.js";
import { follow, get } from "./live.js";

async function load() {
  const found = await get("/api/stream");
  const latency = found.latency_ms;
  tiles(byId("tiles"), [
    ["Events in", rate(found.rate), "/s", "mean of the last 10 s"],
    ["Behind", num(found.behind), "records", found.time_behind_ms === null ? null : `${span(found.time_behind_ms)} of event time`],
    ["Decision latency", ...figure(latency.p50), latency.n ? `95 %: ${span(latency.p95)}; last ${num(latency.n)}` : "no decision seen yet"],
    ["Triggers", num(found.triggers_hour), "last hour", null],
    ["Expired unread", num(found.expired_count), "triggers", "kept on their topics"],
    ["Refused", num(found.letters_hour), "last hour", `${num(found.letters.count)} kept`],
    ["Customers", num(found.customers), "profiles", null],
  ]);
  near(found.near);
  dayCharts(found.day);
  partitions(found.partitions, found.notes);
  expired(found.expired);
  letters(found.letters);
}

function partitions(rows, notes) {
  replace(byId("partitions"), table("How far workers are, and what waits for them",
    [{ name: "topic", head: true }, { name: "partition" }, { name: "position", unit: "offset", opt: true }, { name: "end", unit: "offset", opt: true }, { name: "unread", unit: "records" }, { name: "behind", unit: "of event time" }, { name: "waiting", unit: "the first unread", opt: true }, { name: "caught up", unit: "at this pace", opt: true }],
    rows.map(([stage, topic, partition, position, end, unread, behind, waiting, lost, catchesUp]) => [
      [topic, el("small", {}, lost ? `${stage}; ${num(lost)} lost to retention` : stage)], num(partition), position === null ? "none" : num(position), num(end),
      unread ? el("strong", {}, num(unread)) : num(unread), unread === 0 ? "0" : span(behind), unread === 0 ? "–" : span(waiting),
      unread === 0 ? "yes" : catchesUp === null ? "not in sight" : `in ${span(1000 * catchesUp)}`]),
    "No topics: bring the installation up with rapport topics create, or name its --prefix."));
  byId("notes").textContent = notes.join(". ");
}

function expired(rows) {
  replace(byId("expired"), table("Triggers that subscribers have not read, by consumer group",
    [{ name: "topic", head: true }, { name: "group", left: true }, { name: "unread", unit: "triggers", opt: true }, { name: "expired", unit: "triggers" }, { name: "by campaign", left: true, wrap: true, opt: true }],
    rows.map(([group, topic, unread, gone, campaigns, more]) => [topic, group || "nobody reads it", num(unread), gone ? el("strong", { class: "bad" }, `${more ? "at least " : ""}${num(gone)}`) : "0",
      Object.entries(campaigns).map(([name, n]) => `${num(n)} × ${name}`).join("; ") || "–"]),
    "Nothing waits: every trigger is read, or none was sent."));
}

const figure = (ms) => { const [value, unit] = span(ms).split(" "); return [value, unit ? `${unit}, median` : ""]; };

function near(rows) {
  const x = rows.map(([at]) => at);
  const shared = { x, xText: clock, from: x.length ? Math.min(x[0], x.at(-1) - 120000) : 0, empty: "The first figures come a few seconds after the start." };
  lines(byId("rate"), { ...shared, title: "Events in", unit: "per second", area: true, room: 4, whole: true, series: [{ name: "events/s", values: rows.map((r) => r[1]) }] });
  lines(byId("behind"), { ...shared, title: "Waiting to be read", unit: "records, all partitions", area: true, room: 4, whole: true, series: [{ name: "records", values: rows.map((r) => r[2]) }] });
}

function dayCharts(rows) {
  const x = rows.map(([at]) => at);
  const shared = { x, xText: hour, from: x.length ? Math.min(x[0], x.at(-1) - 3600000) : 0, least: 1, dots: rows.length < 30, empty: "No decision in the last 24 hours. Play events in: rapport play FILE." };
  lines(byId("triggers"), { ...shared, title: "Decisions", unit: "in ten minutes", room: 4, whole: true, series: [
    { name: "sent", values: rows.map((r) => r[2]) }, { name: "held out", values: rows.map((r) => r[3]) }, { name: "goals reached", values: rows.map((r) => r[4]) }] });
  lines(byId("latency"), { ...shared, title: "Decision latency", unit: "ms, from the log to the decision", room: 4, whole: true, empty: "Measured for decisions whose event was seen entering the log since rapport ui started.", series: [
    { name: "95 %", values: rows.map((r) => r[7]) }, { name: "median", values: rows.map((r) => r[6]) }] });
}

function letters(found) {
  replace(byId("reasons"), table("Refused records by reason",
    [{ name: "reason", head: true }, { name: "records" }, { name: "last", unit: "UTC", left: true, opt: true }, { name: "remedy", left: true, wrap: true }],
    found.reasons.map(([reason, count, last, remedy]) => [reason, num(count), minute(last), remedy]),
    "Nothing was refused."));
  const place = byId("letters");
  if (!found.latest.length) { place.replaceChildren(); return; }
  replace(place, table("The latest; what was in them stays in their topic (rapport dead-letters show ORIGIN --content)",
    [{ name: "origin", head: true, wrap: true }, { name: "arrived", unit: "UTC", left: true, opt: true }, { name: "field", left: true, wrap: true }, { name: "found", left: true, wrap: true }],
    found.latest.map(([at, origin, , field, what]) => [origin, second(at), field, what]), ""));
}

follow("stream", load, 1500);
