import { byId, el, put } from "./dom.js";
import { clock, day, num } from "./format.js";
import { follow, post, postLines } from "./live.js";

let shown = "";

async function look(id) {
  const said = byId("said");
  said.className = "note";
  said.textContent = "Looking up …";
  byId("search").setAttribute("aria-busy", "true");
  try {
    const found = await post("/api/customer", { customer: id });
    shown = found.customer;
    if (found.found) await show(found);
    else {
      put(byId("life"));
      put(said, `${found.customer} is not known here. `, found.like.length ? ["Did you mean ", ...found.like.flatMap((one, i) => [i ? ", " : "", again(one)]), "?"] : "Ids are u: and a user id, or a: and a device's.");
    }
  } catch (error) {
    said.className = "bad";
    said.textContent = error.message;
  }
  byId("search").removeAttribute("aria-busy");
}

async function show(found) {
  const place = el("section", { "aria-label": "Time line" });
  put(byId("life"), el("div", { class: "life" }, known(found), place));
  byId("said").textContent = "Reading the log for the time line …";
  const line = await postLines("/api/time-line", { customer: found.customer }, ([done, total]) => {
    if (shown === found.customer) byId("said").textContent = `Reading the log for the time line: ${num(done)} of ${num(total)} records`;
  });
  if (shown !== found.customer) return;
  put(place, timeLine(line, found.customer));
  byId("said").textContent = `${num(line.entries.length)} entries`;
}

const again = (id) => el("button", { type: "button", class: "link", onclick: () => { byId("id").value = id; look(id); } }, id);

function known(found) {
  const consents = found.consents.length ? found.consents.map(([scope, yes]) => el("li", {}, `${scope === "*" ? "all channels" : scope}: `, el("strong", {}, yes ? "yes" : "no"))) : [el("li", {}, `never asked: the policy ${found.default_consent === "allow" ? "allows" : "denies"}`)];
  const facts = found.head.filter(([name]) => name !== "consent");
  return el("section", { class: "card", "aria-label": "What is known" },
    el("h2", {}, found.customer),
    found.linked ? el("p", {}, "Became ", again(found.linked), ": its life goes on there.") : null,
    el("dl", { class: "facts" }, facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    el("h3", {}, "Consent"), el("ul", {}, consents, found.profiling ? null : el("li", {}, "objects to profiling: is not scored")),
    found.erased ? el("p", { class: "note" }, "Erased: nothing else is kept.") : el("button", { type: "button", class: "danger", onclick: () => ask(found.customer) }, "Erase …"));
}

function timeLine(line, asked) {
  const days = [];
  for (const entry of line.entries) {
    const today = day(entry[0]);
    if (days.at(-1)?.day !== today) days.push({ day: today, entries: [] });
    days.at(-1).entries.push(entry);
  }
  const moment = ([at, kind, , customer, words]) => el("li", { class: kind }, el("time", { class: "figure", datetime: new Date(at).toISOString() }, clock(at)), el("span", { class: "kind" }, kind),
    el("span", {}, customer === asked ? "" : `${customer}: `, words[0], words.slice(1).map((w) => el("small", {}, w))));
  return [
    el("h2", {}, "Time line, the latest first"),
    line.left_out ? el("p", { class: "note" }, `${num(line.left_out)} earlier entries are left out: rapport customer shows them.`) : null,
    line.entries.length ? el("ol", { class: "days" }, days.map((d) => el("li", {}, el("h3", {}, d.day), el("ol", { class: "moments" }, d.entries.map(moment))))) : el("p", { class: "empty" }, "Nothing is left in the topics."),
    line.notes.map((note) => el("p", { class: "note" }, note)),
  ];
}

function ask(id) {
  byId("erase-id").textContent = id;
  byId("confirm").value = "";
  byId("erase-said").textContent = "";
  byId("erase-yes").disabled = true;
  byId("erase").showModal();
  byId("confirm").focus();
}

byId("confirm").addEventListener("input", () => { byId("erase-yes").disabled = byId("confirm").value.trim() !== shown; });
byId("erase-yes").addEventListener("click", async () => {
  byId("erase-yes").disabled = true;
  try {
    await post("/api/erase", { customer: shown, confirm: byId("confirm").value });
    byId("erase").close();
    byId("said").className = "good";
    byId("said").textContent = "Erasure asked for: the workers carry it out with the next records. Look up again to see it.";
  } catch (error) {
    byId("erase-said").textContent = error.message;
  }
});
byId("search").addEventListener("submit", (event) => { event.preventDefault(); look(byId("id").value); });

const handed = sessionStorage.getItem("customer");
if (handed) { sessionStorage.removeItem("customer"); byId("id").value = handed; look(handed); }
follow("customer", async () => {});
