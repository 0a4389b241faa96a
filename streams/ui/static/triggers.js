import { byId, el, put } from "./dom.js";
import { ARMS, dayMinute, num } from "./format.js";
import { follow, get, post } from "./live.js";
import { recordOf } from "./record.js";
import { VirtualList } from "./virtual.js";

const MOST = 10000, ID = 1, AT = 2, CAMPAIGN = 3, ARM = 4, CHANNEL = 5, WHAT = 6, CUSTOMER = 7, WHY = 8;
let all = [], last = 0, fresh = 0;

const cell = (kind, text) => el("span", { role: "gridcell", class: kind, title: text }, text);
const list = new VirtualList(byId("list"), "Decisions, the newest first",
  [{ name: "decided, UTC", kind: "when" }, { name: "campaign", kind: "name" }, { name: "arm", kind: "arm" }, { name: "channel", kind: "opt" }, { name: "what", kind: "opt" }, { name: "customer", kind: "who" }, { name: "first reason", kind: "opt" }],
  (row) => [cell("when", dayMinute(row[AT])), cell("name", row[CAMPAIGN]), cell("arm dim", ARMS[row[ARM]] || row[ARM]), cell("opt", row[CHANNEL]), cell("opt", row[WHAT]), cell("who", row[CUSTOMER]), cell("opt dim", row[WHY])],
  open);

const passes = (row) => {
  const campaign = byId("campaign").value, arm = byId("arm").value;
  return (!campaign || row[CAMPAIGN] === campaign) && (!arm || row[ARM] === arm);
};

async function load() {
  const found = await get(`/api/triggers?after=${last}`);
  const restarted = found.last < last;
  const rows = restarted ? (await get("/api/triggers?after=0")).rows : found.rows;
  all = (restarted ? rows : rows.concat(all)).slice(0, MOST);
  last = found.last;
  options(found.campaigns);
  const added = rows.filter(passes).length;
  show(restarted ? 0 : added);
}

function options(names) {
  const select = byId("campaign"), known = new Set([...select.options].map((o) => o.value));
  for (const name of names) if (!known.has(name)) select.append(el("option", { value: name }, name));
}

function show(added) {
  const rows = all.filter(passes);
  const away = list.view.scrollTop > 4;
  list.set(rows, added);
  fresh = away ? fresh + added : 0;
  byId("newer").hidden = !fresh;
  byId("newer").textContent = `${num(fresh)} newer: to the top`;
  byId("count").textContent = all.length
    ? `${num(rows.length)} of the last ${num(all.length)} decisions`
    : "No decisions yet. Play events into the installation: rapport play FILE; it needs campaigns that are live.";
}

async function open(row) {
  const place = byId("record");
  place.hidden = false;
  byId("list").parentElement.classList.add("open");
  put(place, el("p", { class: "note" }, "Reading …"));
  try {
    put(place, recordOf(await post("/api/decision", { decision: row[ID] }), close));
  } catch (error) {
    put(place, el("header", {}, el("p", { class: "bad" }, error.message), el("button", { class: "quiet", type: "button", onclick: close }, "Close")));
  }
  place.focus();
}

function close() {
  byId("record").hidden = true;
  byId("list").parentElement.classList.remove("open");
  list.back();
}

byId("record").addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
byId("filter").addEventListener("change", () => { fresh = 0; list.view.scrollTop = 0; show(0); });
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("newer").addEventListener("click", () => { fresh = 0; list.view.scrollTop = 0; show(0); list.go(0); });
follow("triggers", load, 1000);
