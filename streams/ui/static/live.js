// The connection to the dashboard: what is asked for, what is told live, and how it stands.

import { byId, el, put } from "./dom.js";
import { minute, num, clock as timeOfDay } from "./format.js";

const STALE_MS = 5000;
const csrf = document.querySelector("meta[name=csrf]").content;

export async function get(path) {
  return answer(await fetch(path, { headers: { Accept: "application/json" } }));
}

export async function post(path, body) {
  return answer(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json", "X-Rapport-Csrf": csrf }, body: JSON.stringify(body) }));
}

// Posts, and calls `step` with each line of the answer but the last, which is returned.
export async function postLines(path, body, step) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json", "X-Rapport-Csrf": csrf }, body: JSON.stringify(body) });
  if (!response.ok) return answer(response);
  const reader = response.body.getReader(), decoder = new TextDecoder();
  let text = "", found = { error: "The dashboard broke off." };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (text + decoder.decode(value, { stream: true })).split("\n");
    text = lines.pop();
    for (const line of lines) {
      found = JSON.parse(line);
      if (found.progress) step(found.progress);
    }
  }
  if (found.error) throw new Error(found.error);
  return found;
}

async function answer(response) {
  if (response.status === 401) return leave();
  const type = response.headers.get("Content-Type") || "";
  const found = type.startsWith("application/json") ? await response.json() : { error: await response.text() };
  if (!response.ok) throw new Error(found.error || `The dashboard answered ${response.status}.`);
  return found;
}

function leave() {
  location.assign("/login");
  return new Promise(() => {});
}

// Calls `load` now and whenever the page's version moves, never twice at a time, at most once in `gap` milliseconds.
export function follow(page, load, gap = 1000) {
  let shown = -1, wanted = 0, busy = false, last = 0, heard = Date.now(), head = null, failed = "";

  async function refresh() {
    if (busy || wanted === shown || document.hidden) return;
    const wait = last + gap - Date.now();
    if (wait > 0) { setTimeout(refresh, wait); return; }
    busy = true;
    const version = wanted;
    try {
      await load();
      shown = version;
      failed = "";
    } catch (error) {
      failed = error.message;
    }
    busy = false;
    last = Date.now();
    tell();
    if (wanted !== shown) setTimeout(refresh, gap);
  }

  function tell() {
    show(head, Date.now() - heard, heard, failed);
  }

  const source = new EventSource("/api/live");
  source.onmessage = (message) => {
    head = JSON.parse(message.data);
    heard = Date.now();
    if (shown === -1 && wanted === 0) wanted = -2;
    if (page in head.versions && head.versions[page] !== wanted) { wanted = head.versions[page]; refresh(); }
    tell();
  };
  source.addEventListener("out", leave);
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000); tell(); };
  setInterval(tell, 1000);
  document.addEventListener("visibilitychange", refresh);
}

function show(head, silence, heard, failed) {
  const status = byId("status"), trouble = byId("trouble");
  let state = "wait", text = "connecting";
  const lines = [];
  if (head === null ? silence > STALE_MS : silence > STALE_MS) {
    state = "lost";
    text = `disconnected since ${timeOfDay(heard)}`;
    lines.push("The dashboard does not answer: what is shown is old. Is rapport ui still running? It is tried again by itself.");
  } else if (head !== null) {
    const away = [head.kafka && `Broker: ${head.kafka}.`, head.store && `State store: ${head.store}.`].filter(Boolean);
    const left = head.total - head.read;
    if (away.length) { state = "stale"; text = "stale"; lines.push(...away.map((line) => `${line} Figures are of before; it is tried again by itself.`)); }
    else if (left > 1000) { state = "wait"; text = `reading ${num((100 * head.read) / head.total)} %`; }
    else { state = "live"; text = head.rate === null ? "live" : `live · ${num(head.rate)} events/s`; }
    if (head.killed) lines.push("The kill switch is on: no trigger goes out.");
    byId("clock").textContent = minute(head.clock);
  }
  if (failed) lines.push(failed);
  if (status.dataset.state !== state) status.dataset.state = state;
  if (status.textContent !== text) status.textContent = text;
  status.setAttribute("aria-live", state === "live" ? "off" : "polite");
  document.documentElement.classList.toggle("old", state === "lost" || state === "stale");
  const said = lines.join("\n");
  if (trouble.dataset.said !== said) {
    trouble.dataset.said = said;
    trouble.hidden = !lines.length;
    put(trouble, lines.map((line) => el("p", { class: line.startsWith("The kill") ? "bad" : null }, line)));
  }
}
