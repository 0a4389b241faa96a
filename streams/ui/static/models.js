import { byId, el, replace, table } from "./dom.js";
import { num, percent, short } from "./format.js";
import { lines } from "./charts.js";
import { follow, get } from "./live.js";

const sections = new Map();

async function load() {
  const found = (await get("/api/models")).sort((a, b) => b.figures.n - a.figures.n);
  replace(byId("table"), table("Progressive figures since the first label",
    [{ name: "target", head: true }, { name: "answers", left: true }, { name: "labels" }, { name: "base rate", unit: "share", opt: true }, { name: "log loss", unit: "nats", opt: true }, { name: "null", unit: "nats", opt: true }, { name: "better by", unit: "of the null" }, { name: "AUC", unit: "0.5–1", opt: true }, { name: "ECE", unit: "share", opt: true }, { name: "lift", unit: "top tenth, ×", opt: true }, { name: "drifts", opt: true }, { name: "version", unit: "labels learned", opt: true }],
    found.map((m) => {
      const f = m.figures, n = f.n > 0, gain = n && f.null_log_loss ? 1 - f.log_loss / f.null_log_loss : null;
      const head = n ? el("a", { href: `#t-${m.target}` }, m.target) : m.target;
      return [head, el("span", { class: `tag${m.answers === "model" ? " on" : ""}` }, m.answers), num(f.n), n ? percent(f.base_rate) : "–", n ? num(f.log_loss, 4) : "–", n ? num(f.null_log_loss, 4) : "–",
        gain === null ? "–" : el("span", { class: gain > 0 ? "good" : "bad" }, `${gain > 0 ? "" : "−"}${percent(Math.abs(gain))}`), num(f.auc, 3), n ? num(f.ece, 3) : "–", f.lift === null ? "–" : num(f.lift, 2), num(m.drifts), num(m.version)];
    }), ""));
  for (const m of found) if (m.figures.n) target(m);
  if (!found.some((m) => m.figures.n)) byId("targets").replaceChildren(el("p", { class: "empty" }, "No label yet: the first falls due when a prediction's horizon is over, an hour after the first visit at the earliest."));
}

function target(m) {
  let section = sections.get(m.target);
  if (!section) {
    if (!sections.size) byId("targets").replaceChildren();
    section = { state: el("p", { class: "note" }), loss: el("figure"), calibration: el("figure") };
    byId("targets").append(el("section", { class: "target", "aria-labelledby": `t-${m.target}` },
      el("h2", { id: `t-${m.target}`, tabindex: "-1" }, m.target), section.state, el("div", { class: "charts" }, section.loss, section.calibration)));
    sections.set(m.target, section);
  }
  const left = m.min_labels - m.figures.n;
  const why = m.answers === "model" ? "The model answers." : left > 0 ? `A rule answers until ${num(m.min_labels)} labels are there: ${num(left)} to go.` : "A rule answers: lately the model did not beat the null.";
  const notes = [m.drifts ? `${num(m.drifts)} drift${m.drifts > 1 ? "s" : ""} found.` : "No drift found.", m.rollbacks ? `Went back to a good state ${num(m.rollbacks)} times.` : "", m.full ? "It is full and learns no more." : "", m.trouble];
  section.state.textContent = [why, ...notes, `${m.estimator.replace("river.", "")}, model ${m.model}.`].filter(Boolean).join(" ");
  lines(section.loss, { title: "Log loss over time", unit: "nats, of the labels between two points", zero: false, x: m.steps.map((s) => s[0]), xText: (n) => short(Math.round(n)), xName: "labels so far",
    series: [{ name: "model", values: m.steps.map((s) => s[1]) }, { name: "null", values: m.steps.map((s) => s[2]) }], empty: "Needs some forty labels more." });
  const most = Math.max(0.05, ...m.calibration.flatMap(([p, r]) => [p, r]));
  const top = [0.1, 0.2, 0.5, 1].find((v) => v >= most) ?? 1;
  lines(section.calibration, { title: "Calibration", unit: "what came true, by what was predicted", x: m.calibration.map((c) => c[0]), xText: (v) => percent(v, top < 0.5 ? 1 : 0), xName: "predicted", yText: (v) => percent(v, top < 0.5 ? 1 : 0), from: 0, to: top, most: top,
    ideal: true, dots: true, series: [{ name: "came true", values: m.calibration.map((c) => c[1]) }], empty: "Needs more labels." });
}

follow("models", load, 3000);
