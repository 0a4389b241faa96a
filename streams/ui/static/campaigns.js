import { byId, el, replace, table } from "./dom.js";
import { num, percent, points } from "./format.js";
import { interval, spark } from "./charts.js";
import { follow, get, post } from "./live.js";
import { STOPPED } from "./record.js";

const VERDICTS = { works: "good", harms: "bad" };
let killed = false;

async function load() {
  const found = await get("/api/campaigns");
  turn(found.killed, found.killed_in_file);
  byId("basis").textContent = found.campaigns.length
    ? `Counts are of all that the topic of decisions holds. Treated against held out: persons by their first decision, once its window is over; the interval holds at 95 % however often one looks.${found.full ? " Effects are those of the first 200,000 first decisions." : ""}`
    : "";
  const reach = Math.max(0.02, ...found.campaigns.filter((c) => c.effect?.difference !== null && c.effect).map((c) => Math.min(0.5, Math.max(Math.abs(c.effect.interval[0]), Math.abs(c.effect.interval[1])))));
  replace(byId("table"), table("Campaigns of the file, and others that have decided",
    [{ name: "campaign", head: true }, { name: "mode", left: true }, { name: "sent" }, { name: "last 30 days", unit: "sent a day", left: true }, { name: "held out" }, { name: "shadow" }, { name: "reached the goal", unit: "sent", }, { name: "reached the goal", unit: "held out" }, { name: "difference", unit: "points" }, { name: `interval`, unit: `−${num(100 * reach)} to +${num(100 * reach)} points`, left: true }, { name: "reading", left: true, wrap: true }, { name: "stopped at others' moments", left: true, wrap: true }],
    found.campaigns.map((c) => row(c, reach)),
    "No campaigns: give the workers' file, rapport ui --campaigns FILE, or write one, rapport example > campaigns.toml."));
}

function row(c, reach) {
  const e = c.effect, judged = e && e.difference !== null;
  const about = [c.signal && `on ${c.signal}`, c.topic && `to ${c.topic}`, c.channels.join(", "), c.goal && `goal: ${c.goal}`].filter(Boolean).join("; ");
  const share = ([persons, reached]) => (persons ? [percent(reached / persons), el("small", {}, `${num(reached)} of ${num(persons)}`)] : "–");
  const mode = c.mode === null ? el("span", { class: "tag bad" }, "in no file") : el("span", { class: `tag${c.mode === "live" ? " on" : ""}` }, c.mode);
  const stopped = Object.entries(c.stopped);
  return [
    [c.id, el("small", {}, about)], mode, num(c.treated), spark(c.spark, `sent a day, last 30 days: most ${num(Math.max(...c.spark))}, today ${num(c.spark.at(-1))}`), num(c.held), num(c.shadow),
    e ? share(e.treated) : "–", e ? share(e.holdout) : "–", judged ? points(e.difference) : "–",
    judged ? interval(e.interval[0], e.interval[1], e.difference, reach, `${points(e.interval[0])} to ${points(e.interval[1])} points`) : "–",
    e ? reading(e) : c.audience ? "an audience: no effect" : "–",
    stopped.length ? stopped.map(([why, n]) => el("div", { title: STOPPED[why] }, `${num(n)} × ${why.replaceAll("_", " ")}`)) : "–",
  ];
}

function reading(e) {
  const more = e.verdict === "too early" ? (e.missing ? `about ${num(e.missing)} persons to go for ${points(e.assumed)} points` : `${num(e.open)} windows are open`) : `${num(e.open)} windows are open`;
  return [el("strong", { class: VERDICTS[e.verdict] || null }, e.verdict), el("small", {}, more)];
}

function turn(on, inFile) {
  killed = on;
  byId("kill").classList.toggle("on", on || inFile);
  byId("kill-state").textContent = inFile ? "On in the campaigns file: no trigger goes out, whatever is set here." : on ? "On: no trigger goes out. Profiles and models go on." : "Off: triggers go out.";
  const button = byId("kill-button");
  button.disabled = false;
  button.textContent = on ? "Let triggers go out again …" : "Stop all triggers …";
  button.className = on ? "" : "danger";
}

byId("kill-button").addEventListener("click", () => {
  byId("confirm-h").textContent = killed ? "Let triggers go out again?" : "Stop all triggers?";
  byId("confirm-text").textContent = killed ? "Workers heed it within a second. What was stopped meanwhile is not sent later." : "Within a second no trigger goes out, of any campaign. What would have been sent is counted as suppressed and is not sent later.";
  const yes = byId("confirm-yes");
  yes.textContent = killed ? "Let them go out" : "Stop them";
  yes.className = killed ? "main" : "danger";
  byId("confirm-said").textContent = "";
  byId("confirm").showModal();
  byId("confirm-no").focus();
});
byId("confirm-yes").addEventListener("click", async () => {
  try {
    const answer = await post("/api/kill", { on: !killed, confirm: killed ? "resume" : "stop" });
    turn(answer.killed, false);
    byId("confirm").close();
  } catch (error) {
    byId("confirm-said").textContent = error.message;
  }
});

follow("campaigns", load, 3000);
