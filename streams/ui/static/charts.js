// Small charts in SVG: lines over time or labels, calibration; each with its unit, a text for screen readers, and its figures as a table.

import { el, put, svg, table } from "./dom.js";
import { short } from "./format.js";

const LEFT = 46, RIGHT = 12, TOP = 8, BOTTOM = 22, HEIGHT = 172, CLASSES = ["a", "b", "c"];
const drawn = new WeakMap();
const resized = new ResizeObserver((entries) => { for (const entry of entries) drawn.get(entry.target)?.(); });

// options: {title, unit, series: [{name, values}], x: [..], xText, yText, zero, empty, ideal, area}
export function lines(figure, options) {
  const state = figure.querySelector("details")?.open;
  const { title, unit, series, x } = options;
  const points = series.flatMap((one) => one.values).filter((value) => value !== null);
  const legend = series.length > 1
    ? series.map((one, i) => el("span", { class: "legend" }, svg("svg", { width: 22, height: 8, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, class: CLASSES[i] })), one.name))
    : [];
  const caption = el("figcaption", {}, el("b", {}, title), el("span", { class: "legend" }, unit), legend);
  if (points.length < (options.least ?? 2)) {
    drawn.delete(figure);
    put(figure, caption, el("p", { class: "empty" }, options.empty || "Nothing yet."));
    return;
  }
  const picture = svg("svg", { role: "img", height: HEIGHT, "aria-label": spoken(options) });
  const yText = options.yText || short, xText = options.xText || String;
  const columns = [{ name: options.xName || "time", left: true, head: true }, ...series.map((one) => ({ name: one.name, unit }))];
  const details = el("details", { open: state }, el("summary", {}, "Figures"));
  const fillTable = () => {
    if (!details.open || details.children.length > 1) return;
    const step = Math.max(1, Math.ceil(x.length / 24));
    const rows = x.map((at, i) => [xText(at), ...series.map((one) => (one.values[i] === null ? "–" : yText(one.values[i])))]).filter((_, i) => (x.length - 1 - i) % step === 0).reverse();
    details.append(table(title, columns, rows, "–"));
  };
  details.addEventListener("toggle", fillTable);
  fillTable();
  put(figure, caption, picture, details);
  const draw = () => paint(picture, figure.clientWidth - 28, options, points, xText, yText);
  drawn.set(figure, draw);
  resized.observe(figure);
  draw();
}

function spoken({ title, unit, series }) {
  const parts = series.map((one) => {
    const known = one.values.filter((value) => value !== null);
    return `${one.name}: now ${short(known.at(-1))}, least ${short(Math.min(...known))}, most ${short(Math.max(...known))}`;
  });
  return `${title}, ${unit}. ${parts.join(". ")}`;
}

function paint(picture, width, options, points, xText, yText) {
  if (width < 60) return;
  const { series, x } = options;
  const bottom = options.zero === false ? Math.min(...points) : Math.min(0, ...points);
  const [low, high, step] = nice(bottom, options.most ?? Math.max(options.room ?? -Infinity, ...points), options.whole ? 1 : 0);
  const first = options.from ?? x[0], last = options.to ?? x.at(-1);
  const px = (at) => LEFT + ((at - first) / (last - first || 1)) * (width - LEFT - RIGHT);
  const py = (value) => TOP + (1 - (value - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
  const parts = [];
  for (let y = low; y <= high + step / 2; y += step) {
    parts.push(svg("line", { x1: LEFT, x2: width - RIGHT, y1: py(y), y2: py(y), class: "grid" }), svg("text", { x: LEFT - 7, y: py(y) + 4, "text-anchor": "end" }, yText(Math.abs(y) < step / 1e6 ? 0 : y)));
  }
  const marks = Math.max(2, Math.min(5, Math.floor(width / 110)));
  for (let i = 0; i < marks; i += 1) {
    const at = first + ((last - first) * i) / (marks - 1);
    parts.push(svg("text", { x: px(at), y: HEIGHT - 5, "text-anchor": i === 0 ? "start" : i === marks - 1 ? "end" : "middle" }, xText(at)));
  }
  if (options.ideal) parts.push(svg("line", { x1: px(first), y1: py(first), x2: px(last), y2: py(last), class: "c" }));
  series.forEach((one, i) => {
    const path = broken(one.values, x, px, py);
    if (options.area && i === 0) parts.push(svg("path", { d: under(one.values, x, px, py, py(low)), class: "area" }));
    parts.push(svg("path", { d: path, class: CLASSES[i] }));
    if (options.dots && i === 0) one.values.forEach((value, j) => { if (value !== null) parts.push(svg("circle", { cx: px(x[j]), cy: py(value), r: 3, class: "fill" })); });
  });
  picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  put(picture, parts);
}

function broken(values, x, px, py) {
  let path = "", pen = false;
  values.forEach((value, i) => {
    if (value === null) { pen = false; return; }
    path += `${pen ? "L" : "M"}${px(x[i]).toFixed(1)} ${py(value).toFixed(1)}`;
    pen = true;
  });
  return path;
}

function under(values, x, px, py, floor) {
  let path = "", start = null, end = null;
  const close = () => { if (start !== null) path += `L${px(end).toFixed(1)} ${floor}L${px(start).toFixed(1)} ${floor}Z`; start = null; };
  values.forEach((value, i) => {
    if (value === null) { close(); return; }
    path += `${start === null ? "M" : "L"}${px(x[i]).toFixed(1)} ${py(value).toFixed(1)}`;
    if (start === null) start = x[i];
    end = x[i];
  });
  close();
  return path;
}

// Bounds and a step that people count in, three to five lines.
function nice(low, high, least) {
  const room = high - low || Math.abs(high) || 1;
  const raw = room / 4, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * size).find((s) => s >= Math.max(raw * 0.999, least)) ?? least;
  const from = Math.floor(low / step + 1e-9) * step;
  return [from, Math.max(from + step, Math.ceil(high / step - 1e-9) * step), step];
}

// A share as a bar, 0 to 1.
export function bar(share, label) {
  return svg("svg", { class: "bar", viewBox: "0 0 100 16", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("rect", { class: "back", x: 0, y: 2, width: 100, height: 12 }),
    svg("rect", { class: "front", x: 0, y: 2, width: Math.max(0, Math.min(100, 100 * share)), height: 12 }));
}

// An interval around 0, in [-reach, reach].
export function interval(low, high, middle, reach, label) {
  const at = (value) => 50 + (50 * Math.max(-reach, Math.min(reach, value))) / reach;
  return svg("svg", { class: "bar", viewBox: "0 0 100 16", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("line", { class: "grid", x1: 0, x2: 100, y1: 8, y2: 8 }),
    svg("line", { class: "range", x1: at(low), x2: at(high), y1: 8, y2: 8 }),
    svg("line", { class: "axis", x1: 50, x2: 50, y1: 0, y2: 16 }),
    middle === null ? null : svg("line", { class: "mark", x1: at(middle), x2: at(middle), y1: 3, y2: 13 }));
}

// Counts by day without axes.
export function spark(values, label) {
  const most = Math.max(1, ...values), width = 100 / values.length;
  return svg("svg", { class: "bar", viewBox: "0 0 100 16", preserveAspectRatio: "none", role: "img", "aria-label": label },
    values.map((value, i) => svg("rect", { class: "front", x: i * width, width: width * 0.8, y: 16 - (15 * value) / most, height: (15 * value) / most })));
}
