// A list of any length in a few dozen elements: only what is in sight is there. Arrow keys walk it, Enter opens.

import { el } from "./dom.js";

const SPARE = 8;

export class VirtualList {
  // columns: [{name, key}]; draw(row) gives the cells; open(row) is called for a chosen one.
  constructor(place, label, columns, draw, open) {
    this.draw = draw;
    this.open = open;
    this.rows = [];
    this.pool = new Map();
    this.active = 0;
    this.chosen = null;
    this.height = 40;
    this.tall = el("div", { class: "tall", role: "rowgroup" });
    this.view = el("div", { class: "rows", role: "grid", "aria-label": label, "aria-rowcount": 1 },
      el("div", { class: "line head", role: "row", "aria-rowindex": 1 }, columns.map((c) => el("span", { role: "columnheader", class: c.kind }, c.name))),
      this.tall);
    place.replaceChildren(this.view);
    this.view.addEventListener("scroll", () => this.soon(), { passive: true });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.view.addEventListener("click", (event) => {
      const line = event.target.closest("[data-n]");
      if (line) this.choose(Number(line.dataset.n));
    });
    new ResizeObserver(() => this.soon()).observe(this.view);
  }

  // New rows at the top leave what is in sight where it is, unless the top itself is in sight.
  set(rows, added = 0) {
    const top = this.view.scrollTop;
    this.measure();
    this.rows = rows;
    const held = top > 4 || this.view.contains(document.activeElement);
    this.active = added && held ? Math.min(this.active + added, Math.max(0, rows.length - 1)) : Math.min(this.active, Math.max(0, rows.length - 1));
    this.view.setAttribute("aria-rowcount", String(rows.length + 1));
    this.tall.style.height = `${rows.length * this.height}px`;
    if (added && held) this.view.scrollTop = top + added * this.height;
    this.render();
  }

  // What of the view is not covered by the head.
  room() {
    return this.view.clientHeight - this.tall.offsetTop;
  }

  measure() {
    const set = parseInt(getComputedStyle(this.view).getPropertyValue("--row"), 10);
    if (set && set !== this.height) {
      this.height = set;
      this.tall.style.height = `${this.rows.length * set}px`;
    }
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.measure(); this.render(); });
  }

  render() {
    const from = Math.max(0, Math.floor(this.view.scrollTop / this.height) - SPARE);
    const to = Math.min(this.rows.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / this.height) + SPARE);
    const keep = new Set();
    for (let n = from; n < to; n += 1) keep.add(n);
    if (this.rows.length) keep.add(this.active);
    const free = [];
    for (const [n, line] of this.pool) if (!keep.has(n)) { this.pool.delete(n); free.push(line); }
    for (const n of keep) {
      let line = this.pool.get(n);
      if (!line) {
        line = free.pop() || this.tall.appendChild(el("div", { class: "line data", role: "row" }));
        this.pool.set(n, line);
      }
      this.show(line, n);
    }
    for (const line of free) line.remove();
  }

  show(line, n) {
    const row = this.rows[n];
    if (line.row !== row) {
      line.row = row;
      line.replaceChildren(...this.draw(row));
    }
    if (line.n !== n || line.tall !== this.height) {
      line.n = n;
      line.tall = this.height;
      line.dataset.n = String(n);
      line.setAttribute("aria-rowindex", String(n + 2));
      line.style.transform = `translateY(${n * this.height}px)`;
    }
    line.tabIndex = n === this.active ? 0 : -1;
    line.setAttribute("aria-selected", String(this.chosen !== null && row[1] === this.chosen));
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.room() / this.height) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.rows.length, End: this.rows.length };
    if (event.key in moves) {
      event.preventDefault();
      this.go(Math.max(0, Math.min(this.rows.length - 1, this.active + moves[event.key])));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(this.active);
    }
  }

  go(n) {
    this.active = n;
    const top = n * this.height;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (top + this.height > this.view.scrollTop + this.room()) this.view.scrollTop = top + this.height - this.room();
    this.render();
    this.pool.get(n)?.focus({ preventScroll: true });
  }

  choose(n) {
    if (!this.rows[n]) return;
    this.active = n;
    this.chosen = this.rows[n][1];
    this.render();
    this.open(this.rows[n]);
  }

  // Back to the row that was opened, wherever it is by now.
  back() {
    const n = this.rows.findIndex((row) => row[1] === this.chosen);
    this.chosen = null;
    this.go(n < 0 ? Math.min(this.active, this.rows.length - 1) : n);
  }
}
