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
  replace(byId("counts"), table("Campaigns of the file, and others that have decided; counts are of all that the topic of decisions holds",
    [{ name: "campaign", head: true }, { name: "mode", left: true, opt: true }, { name: "sent" }, { name: "sent a day", unit: "last 30 days", left: true }, { name: "held out" }, { name: "shadow", opt: true }, { name: "stopped where another was decided", unit: "times and why", left: true, wrap: true, opt: true }],
    found.campaigns.map(counts),
    "No campaigns: give the workers' file, rapport ui --campaigns FILE, or write one, rapport example > campaigns.toml."));
  const read = found.campaigns.filter((c) => c.effect);
  byId("basis").textContent = read.length
    ? `A person counts by the first decision, once its window is over, sent and held out alike. The interval holds at 95 % however often one looks.${found.full ? " Only the first 200,000 first decisions are counted." : ""}`
    : "";
  const reach = Math.max(0.05, ...read.filter((c) => c.effect.difference !== null).flatMap((c) => c.effect.interval.map(Math.abs)).map((v) => Math.min(1, v)));
  replace(byId("effects"), table("Share of persons who reached the campaign's goal",
    [{ name: "campaign", head: true }, { name: "goal", left: true, opt: true }, { name: "sent", unit: "persons", opt: true }, { name: "reached it", unit: "of the sent" }, { name: "held out", unit: "persons", opt: true }, { name: "reached it", unit: "of those held out" }, { name: "difference", unit: "points", opt: true }, { name: "interval", unit: `±${num(100 * reach)} points`, left: true, opt: true }, { name: "reading", left: true, wrap: true }],
    read.map((c) => effects(c, c.effect, reach)),
    "Nobody's attribution window is over yet."));
}

function counts(c) {
  const about = [c.signal && `on ${c.signal}`, c.channels.length && `by ${c.channels.join(", ")}`, c.topic && `to ${c.topic}`].filter(Boolean).join(" ");
  const mode = c.mode === null ? el("span", { class: "tag bad" }, "in no file") : el("span", { class: `tag${c.mode === "live" ? " on" : ""}` }, c.mode);
  const stopped = Object.entries(c.stopped).map(([why, n]) => `${num(n)} × ${STOPPED[why] || why}`).join("; ");
  const label = `sent a day, last 30 days: most ${num(Math.max(...c.spark))}, today ${num(c.spark.at(-1))}`;
  return [[c.id, el("small", {}, about)], mode, num(c.treated), spark(c.spark, label), num(c.held), num(c.shadow), stopped || "–"];
}

function effects(c, e, reach) {
  const judged = e.difference !== null;
  const share = ([persons, reached]) => (persons ? [percent(reached / persons), el("small", {}, num(reached))] : "–");
  const said = `${points(e.interval[0])} to ${points(e.interval[1])}`;
  return [
    c.id, c.goal || "–", num(e.treated[0]), share(e.treated), num(e.holdout[0]), share(e.holdout), judged ? points(e.difference) : "–",
    judged ? [interval(e.interval[0], e.interval[1], e.difference, reach, `${said} points`), el("small", { "aria-hidden": "true" }, said)] : "–",
    reading(e),
  ];
}

function reading(e) {
  const open = `${num(e.open)} window${e.open === 1 ? " is" : "s are"} open`;
  const more = e.verdict === "too early" && e.missing ? `about ${num(e.missing)} persons to go for ${points(e.assumed)} points` : open;
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
