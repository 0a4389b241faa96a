import { byId, el, put } from "./dom.js";
import { clock, day, num } from "./format.js";
import { follow, post } from "./live.js";

let shown = "";

async function look(id) {
  const said = byId("said");
  said.className = "note";
  said.textContent = "Reading the log …";
  byId("search").setAttribute("aria-busy", "true");
  try {
    const found = await post("/api/customer", { customer: id });
    shown = found.customer;
    if (found.found) { said.textContent = ""; put(byId("life"), life(found)); }
    else {
      put(byId("life"));
      put(said, `${found.customer} is not known here. `, found.like.length ? ["Did you mean ", ...found.like.flatMap((one, i) => [i ? ", " : "", again(one)]), "?"] : "Ids are u: and a user id, or a: and a device's.");
    }
  } catch (error) {
    put(byId("life"));
    said.className = "bad";
    said.textContent = error.message;
  }
  byId("search").removeAttribute("aria-busy");
}

const again = (id) => el("button", { type: "button", class: "link", onclick: () => { byId("id").value = id; look(id); } }, id);

function life(found) {
  const consents = found.consents.length ? found.consents.map(([scope, yes]) => el("li", {}, `${scope === "*" ? "all channels" : scope}: `, el("strong", {}, yes ? "yes" : "no"))) : [el("li", {}, `never asked: the policy ${found.default_consent === "allow" ? "allows" : "denies"}`)];
  const facts = found.head.filter(([name]) => name !== "consent");
  const left = el("section", { class: "card", "aria-label": "What is known" },
    el("h2", {}, found.customer),
    found.linked ? el("p", {}, "Became ", again(found.linked), ": its life goes on there.") : null,
    el("dl", { class: "facts" }, facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    el("h3", {}, "Consent"), el("ul", {}, consents, found.profiling ? null : el("li", {}, "objects to profiling: is not scored")),
    found.erased ? el("p", { class: "note" }, "Erased: nothing else is kept.") : el("button", { type: "button", class: "danger", onclick: () => ask(found.customer) }, "Erase …"));
  const days = [];
  for (const entry of found.entries) {
    const today = day(entry[0]);
    if (days.at(-1)?.day !== today) days.push({ day: today, entries: [] });
    days.at(-1).entries.push(entry);
  }
  const line = ([at, kind, , customer, words]) => el("li", { class: kind }, el("time", { class: "figure", datetime: new Date(at).toISOString() }, clock(at)), el("span", { class: "kind" }, kind),
    el("span", {}, customer === found.customer ? "" : `${customer}: `, words[0], words.slice(1).map((w) => el("small", {}, w))));
  const right = el("section", { "aria-label": "Time line" }, el("h2", {}, "Time line, the latest first"),
    found.left_out ? el("p", { class: "note" }, `${num(found.left_out)} earlier entries are left out: rapport customer shows them.`) : null,
    found.entries.length ? el("ol", { class: "days" }, days.map((d) => el("li", {}, el("h3", {}, d.day), el("ol", { class: "moments" }, d.entries.map(line))))) : el("p", { class: "empty" }, "Nothing is left in the topics."),
    found.notes.map((note) => el("p", { class: "note" }, note)));
  return el("div", { class: "life" }, left, right);
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
