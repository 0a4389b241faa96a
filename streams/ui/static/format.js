// Figures as people read them; times are UTC.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "–";

export function num(value, digits = 0) {
  if (value === null || value === undefined) return NONE;
  return digits ? value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : whole.format(value);
}

export function short(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return `${trim(value / 1e6)} M`;
  if (size >= 1e4) return `${trim(value / 1e3)} k`;
  if (size >= 100) return whole.format(value);
  return String(Number(value.toPrecision(3)));
}

const trim = (value) => String(Number(value.toPrecision(3)));

export function rate(value) {
  return value === null || value === undefined ? NONE : value < 10 && value > 0 ? num(value, 1) : num(value);
}

export function percent(value, digits = 1) {
  return value === null || value === undefined ? NONE : `${num(100 * value, digits)} %`;
}

export function points(value) {
  if (value === null || value === undefined) return NONE;
  const text = num(Math.abs(100 * value), 1);
  return text === "0.0" ? "0.0" : `${value < 0 ? "−" : "+"}${text}`;
}

export function span(ms) {
  if (ms === null || ms === undefined) return NONE;
  const units = [["d", 86400000], ["h", 3600000], ["min", 60000], ["s", 1000]];
  for (const [name, size] of units) if (ms >= size * (name === "s" ? 1 : 1.5)) return `${short(ms / size)} ${name}`;
  return `${num(ms)} ms`;
}

const iso = (ms) => new Date(ms).toISOString();
export const day = (ms) => (ms ? iso(ms).slice(0, 10) : NONE);
export const minute = (ms) => (ms ? iso(ms).slice(0, 16).replace("T", " ") : NONE);
export const second = (ms) => (ms ? iso(ms).slice(0, 19).replace("T", " ") : NONE);
export const clock = (ms) => iso(ms).slice(11, 19);
export const hour = (ms) => iso(ms).slice(11, 16);
export const monthDay = (ms) => iso(ms).slice(5, 10);
export const dayMinute = (ms) => (ms ? iso(ms).slice(5, 19).replace("T", " ") : NONE);
export const ARMS = { treated: "sent", holdout: "held out", shadow: "shadow" };
