// A decision record as a person reads it: what, why, what else was possible, what was stopped.

import { el, table } from "./dom.js";
import { num, percent, points, second } from "./format.js";

export const STOPPED = {
  stale: "what it acts on was too old", expired: "its time was over", killed: "the kill switch was on", consent: "no consent for the channel",
  quiet_hours: "quiet hours of the customer", cap_campaign: "the campaign's cap was used up", cap_channel: "the channel's cap was used up",
  cap_customer: "the customer's cap was used up", budget: "the day's budget was spent", no_gain: "it would have cost more than it gains",
  outranked: "another promised more", condition: "a condition was not met", moot: "no longer true", member: "already in the audience",
};
const FLAGS = { mixed_history: "two contacted histories became one", global_holdout: "in the global holdout" };
const WHERE = { treated: "Sent on the topic", holdout: "Held out: nothing sent; it would have gone on the topic", shadow: "Shadow mode: nothing sent; it would have gone on the topic" };

const fact = (name, value) => (value ? [el("dt", {}, name), el("dd", {}, value)] : []);

export function toCustomer(id) {
  return el("button", { class: "link", type: "button", onclick: () => { sessionStorage.setItem("customer", id); location.assign("/customer"); } }, id);
}

export function recordOf({ decision: d, written_at: written, goal }, close) {
  const suppressed = Object.entries(d.suppressed || {});
  const scores = Object.entries(d.scores || {}), versions = d.models || {};
  const others = (d.eligible || []).filter((o) => o.campaign !== d.campaign || o.action !== d.action.id);
  return [
    el("header", {}, el("div", {}, el("h2", {}, d.campaign), el("p", { class: "note" }, `${WHERE[d.arm] || d.arm} ${d.topic}`)), el("button", { class: "quiet", type: "button", onclick: close }, "Close")),
    el("dl", { class: "facts" },
      fact("customer", toCustomer(d.customer)),
      fact("action", [d.action.id, d.action.offer && `offer ${d.action.offer}`, d.action.creative && `creative ${d.action.creative}`, d.membership].filter(Boolean).join(", ")),
      fact("channel", d.channel || d.action.channel),
      fact("products", (d.action.items || []).join(", ")),
      fact("signal", d.signal),
      fact("decided", `${second(d.issued_at)} UTC`),
      fact("expires", `${second(d.expires_at)} UTC`),
      fact("goal", goal && `${goal}, until ${second(d.until)}`),
      fact("written", written ? `${second(written)} UTC` : "")),
    el("h3", {}, "Why"),
    d.reasons?.length
      ? el("ol", {}, d.reasons.map((r) => el("li", {}, r.text || r.feature, r.weight ? el("span", { class: "note" }, ` (${r.weight > 0 ? "+" : "−"}${num(Math.abs(r.weight), 2)} log-odds)`) : null)))
      : el("p", { class: "note" }, `The signal ${d.signal} alone: the campaign has no conditions.`),
    scores.length ? table("Scores it was based on", [{ name: "model", head: true }, { name: "probability" }, { name: "answered by", left: true, wrap: true }],
      scores.map(([name, p]) => [name, percent(p), by(versions, name)]), "") : null,
    el("h3", {}, "What else was possible"),
    others.length
      ? table(`Its own expected gain: ${num(d.gain, 4)}`, [{ name: "campaign", head: true }, { name: "action", left: true }, { name: "expected gain" }], others.map((o) => [o.campaign, o.action, num(o.gain, 4)]), "")
      : el("p", { class: "note" }, `Nothing: it alone passed all gates${d.gain ? ` (expected gain ${num(d.gain, 4)})` : ""}.`),
    el("h3", {}, "What was stopped, and why"),
    suppressed.length
      ? el("ul", {}, suppressed.map(([name, why]) => el("li", {}, el("strong", {}, name), `: ${STOPPED[why] || why}`)))
      : el("p", { class: "note" }, "Nothing at this moment."),
    el("h3", {}, "For the record"),
    el("dl", { class: "facts" },
      fact("effect", `${points(d.effect)} points in the chance of the goal, ${d.effect_source || "configured"}`),
      fact("propensity", percent(d.propensity ?? 1)),
      fact("holdout", d.holdout ? percent(d.holdout, 0) : "none"),
      fact("left out of effects", d.flag && (FLAGS[d.flag] || d.flag)),
      fact("id", el("code", {}, d.id)),
      fact("event", el("code", {}, d.source))),
  ];
}

function by(versions, name) {
  const model = Object.keys(versions).filter((m) => name === m || name.startsWith(`${m}.`)).sort((a, b) => b.length - a.length)[0];
  const version = model === undefined ? undefined : versions[model];
  return version === undefined ? "–" : version < 0 ? "rule" : `model of ${num(version)} labels`;
}
