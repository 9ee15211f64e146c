// The inspection page. `PAGE` (see page.py) has the stages in sections of lines; every line lists the numbers of the nodes that it
// is about, and a node has the same number in all stages. Selecting is therefore: collect numbers, mark the lines that have them.
"use strict";

const STAGES = {
  source: ["your lines", 400], traced: ["as written", 470], differentiated: ["with the backward pass", 520], simplified: ["after the rules", 520],
  fused: ["what runs, in order", 640], loop: ["a function per kernel", 620], llvm: ["explicit vectors, strict floats", 640], asm: ["", 520],
};
const EAGER_LINES = 2500; // lines of a stage that are made at once; the rest when its section is opened

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element[key] = value;
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const UNITS = ["", "k", "M", "G", "T"];
function short(n, step = 1000) {
  if (typeof n !== "number") return String(n);
  let unit = 0;
  while (n >= step && unit < UNITS.length - 1) { n /= step; unit += 1; }
  const digits = unit === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return n.toFixed(digits) + (unit ? " " : "") + UNITS[unit];
}
const bytes = (n) => (typeof n === "number" ? short(n, 1024) + (n >= 1024 ? "iB" : " B") : `${n} B`);
const full = (n) => (typeof n === "number" ? n.toLocaleString("en") : String(n));

// --- Colours of the text -----------------------------------------------------------------------------------------------------

const PATTERNS = {
  ir: /(?<c>\/\/.*$)|(?<s>"(?:[^"\\]|\\.)*")|(?<n>%[\w.]+)|(?<a>@[\w.$-]+)|(?<t>\b(?:f32|f64|i32|i64|bool)\[[^\]]*\]|\b(?:vec|buf)<[^>]*>|\b(?:f32|f64|i32|i64|bool)\b)|(?<d>-?\b(?:0x[\da-fA-F.]+(?:p[+-]?\d+)?|\d[\d.]*(?:e[+-]?\d+)?)\b)|(?<w>[A-Za-z_]\w*)|(?<e>=(?!=))/g,
  llvm: /(?<c>;.*$)|(?<s>c?"(?:[^"\\]|\\.)*")|(?<n>%[\w.$-]+)|(?<a>@[\w.$-]+|![\w.]+)|(?<t><\d+ x [\w ]+>|\b(?:float|double|ptr|void|i\d+)\b)|(?<d>-?\b(?:0x[\dA-F]+|\d[\d.]*)\b)|(?<w>[A-Za-z_]\w*)|(?<e>=)/g,
  asm: /(?<c>#.*$)|(?<s>"(?:[^"\\]|\\.)*")|(?<a>^[\w.$@]+:)|(?<f>^\s*\.[\w.]+.*$)|(?<t>%[a-z]\w*)|(?<d>\$?-?\b(?:0x[\da-fA-F]+|\d+)\b)|(?<x>\.?[A-Za-z_][\w.$]*)/g,
  python: /(?<c>#.*$)|(?<s>[rbf]*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))|(?<k>\b(?:def|return|for|in|if|else|elif|while|with|as|import|from|class|lambda|None|True|False|and|or|not|is|yield|pass|raise|try|except|assert)\b)|(?<d>\b\d[\d.]*(?:e[+-]?\d+)?\b)|(?<x>[A-Za-z_]\w*)/g,
};

function colour(text, kind) {
  const pieces = document.createDocumentFragment();
  let at = 0;
  let opcode = true; // the next word is what the line does
  for (const found of text.matchAll(PATTERNS[kind])) {
    let [type, word] = Object.entries(found.groups).find(([, value]) => value !== undefined);
    if (found.index > at) pieces.append(text.slice(at, found.index));
    at = found.index + word.length;
    if (type === "e") opcode = true;
    if (type === "w" || (kind === "asm" && type === "x")) { type = opcode ? "o" : ""; opcode = false; }
    if (type && type !== "e" && type !== "x") pieces.append(make("span", { class: type }, word));
    else pieces.append(word);
  }
  pieces.append(text.slice(at));
  return pieces;
}

// --- Sections and rows ---------------------------------------------------------------------------------------------------------

const KINDS = { source: "python", llvm: "llvm", asm: "asm" };
const columns = []; // {name, element, body, parts}
const places = new Map(); // number → [{part, line}]

class Part {
  constructor(column, section, open) {
    Object.assign(this, { column, section, rows: null });
    this.names = null;
    const lines = section.lines.length;
    this.count = make("output");
    const title = make("h3", { onclick: () => this.toggle() }, section.title, make("small", {}, `${lines} line${lines === 1 ? "" : "s"}`), this.count);
    this.list = make("div", { class: "rows" });
    const whole = ["traced", "differentiated", "simplified", "fused"].includes(column.name); // its lines say what it is
    this.element = make("div", { class: open ? "part" : "part shut" }, whole && open ? null : title, this.list);
    section.lines.forEach(([, links], line) => {
      for (const number of links || []) {
        if (!places.has(number)) places.set(number, []);
        places.get(number).push({ part: this, line });
      }
    });
    if (open) this.fill();
  }

  toggle(open = this.element.classList.contains("shut")) {
    if (open) this.fill();
    this.element.classList.toggle("shut", !open);
    drawRulers();
  }

  fill() {
    if (this.rows) return;
    const kind = KINDS[this.column.name] || "ir";
    this.rows = this.section.lines.map(([text, links], line) => {
      const row = make("span", { class: links ? "row on" : "row" });
      row.owner = this;
      row.line = line;
      if (kind === "python") {
        const [, number, code] = text.match(/^.\s*(\d+) \|(.*)$/) || [null, "", text.trim()];
        row.append(make("u", {}, number), colour(code.replace(/^ /, ""), kind));
      } else row.append(colour(text.replace(/ {3,}\/\/ /, "  // "), kind));
      return row;
    });
    this.list.append(...this.rows);
    paint(this);
  }

  links(line) { return this.section.lines[line][1] || []; }

  // The numbers that a click on a line is about: the first of an instruction that loads, all of the head of a kernel.
  about(line) {
    const links = this.links(line);
    const head = /^(?:func|define|kernel|product|scatter|fill|concat|pad|alias)\b|^\s*\/\//.test(this.section.lines[line][0]);
    return head || this.column.name === "source" ? links : links.slice(0, 1);
  }

  // The number of a name that the section defines.
  meaning(name) {
    if (!this.names) {
      this.names = new Map();
      for (const [text, links, named] of this.section.lines) {
        for (const [known, number] of named || []) this.names.set(known, number);
        const defined = text.match(/^\s*((?:%[\w.$-]+(?:, )?)+) = /);
        if (defined && links) for (const each of defined[1].split(", ")) if (!this.names.has(each)) this.names.set(each, links[0]);
      }
    }
    return this.names.get(name);
  }
}

function buildColumns() {
  const main = $("main");
  PAGE.stages.forEach((stage, index) => {
    const total = stage.sections.reduce((sum, section) => sum + section.lines.length, 0);
    let [hint, width] = STAGES[stage.name];
    if (stage.name === "asm") hint = `x86-64-${PAGE.target}`;
    const column = { name: stage.name, parts: [] };
    column.count = make("output");
    column.body = make("div", { class: "body" });
    column.ruler = make("div", { class: "ruler" });
    const title = make("h2", { title: "Click to fold" }, stage.name, make("small", {}, hint), column.count, make("b", {}, full(total)));
    column.element = make("section", { class: "stage", "data-stage": stage.name, style: `width:${width}px` }, title, column.body, column.ruler);
    title.onclick = () => { column.element.classList.toggle("shut"); drawRulers(); };
    let budget = EAGER_LINES;
    for (const section of stage.sections) {
      const dull = section.title === "constants" || section.title === "declarations" || section.title === "views";
      const open = section.lines.length <= budget && !(dull && stage.sections.length > 1 && stage.name !== "fused");
      if (open) budget -= section.lines.length;
      const part = new Part(column, section, open);
      column.parts.push(part);
      column.body.append(part.element);
    }
    if (!stage.sections.length) column.body.append(make("p", { class: "c", style: "padding:0 14px" }, "nothing here"));
    if (PAGE.folded.includes(stage.name)) column.element.classList.add("shut");
    columns.push(column);
    main.append(column.element);
    main.append(make("div", { class: "grip", onpointerdown: (event) => drag(event, column.element) }));
    column.body.addEventListener("scroll", () => {}, { passive: true });
    column.index = index;
  });
}

function drag(event, element, vertical = false) {
  const start = vertical ? event.clientY : event.clientX;
  const before = vertical ? element.offsetHeight : element.offsetWidth;
  const grip = event.target;
  grip.setPointerCapture(event.pointerId);
  grip.onpointermove = (move) => {
    const size = before + (vertical ? move.clientY : move.clientX) - start;
    element.style[vertical ? "height" : "width"] = `${Math.max(size, vertical ? 80 : 120)}px`;
  };
  grip.onpointerup = () => { grip.onpointermove = grip.onpointerup = null; drawRulers(); };
  event.preventDefault();
}

// --- Selection -------------------------------------------------------------------------------------------------------------------

const selection = { strong: new Set(), weak: new Set(), title: "", at: null };
const children = new Map();
PAGE.origins.forEach(([, , , parents], number) => {
  for (const parent of parents || []) (children.get(parent) || children.set(parent, []).get(parent)).push(number);
});

// What a node was made from, and what was made of it, through all stages.
function related(numbers) {
  const found = new Set();
  const walk = (start, next) => {
    const pending = [...start];
    while (pending.length) for (const other of next(pending.pop())) if (!found.has(other)) { found.add(other); pending.push(other); }
  };
  walk(numbers, (n) => PAGE.origins[n][3] || []);
  walk(numbers, (n) => children.get(n) || []);
  for (const number of numbers) found.delete(number);
  return found;
}

function strength(links) {
  let level = 0;
  for (const number of links) {
    if (selection.strong.has(number)) return 2;
    if (selection.weak.has(number)) level = 1;
  }
  return level;
}

function paint(part) {
  let strong = 0;
  part.section.lines.forEach(([, links], line) => {
    const level = links && selection.strong.size ? strength(links) : 0;
    strong += level === 2;
    const row = part.rows && part.rows[line];
    if (!row) return;
    row.classList.toggle("sel", level === 2);
    row.classList.toggle("rel", level === 1);
    row.classList.toggle("at", selection.at === row);
  });
  part.strong = strong;
  part.count.textContent = strong && part.element.classList.contains("shut") ? strong : "";
}

// Select numbers; `from` is the row that was clicked, whose column stays where it is.
function select(numbers, { from = null, name = "", remember = true } = {}) {
  clearNames();
  selection.strong = new Set(numbers);
  selection.weak = related(selection.strong);
  selection.at = from;
  const counts = {};
  for (const column of columns) {
    column.parts.forEach(paint);
    const matched = column.parts.filter((part) => part.strong);
    counts[column.name] = matched.reduce((sum, part) => sum + part.strong, 0);
    column.count.textContent = counts[column.name] || "";
    if (matched.length && !matched.some((part) => !part.element.classList.contains("shut"))) matched[0].toggle(true);
    if (!from || from.owner.column !== column) reveal(column);
  }
  if (from && name) markName(from.owner, name);
  $$("[data-numbers]").forEach((element) => {
    const level = selection.strong.size ? strength(JSON.parse(element.dataset.numbers)) : 0;
    element.classList.toggle("sel", level === 2);
    element.classList.toggle("rel", level === 1);
  });
  for (const picked of [".steps .box.sel", ".costs tr.sel"]) if ($(picked)) centre($(picked));
  drawRulers();
  describe(counts);
  if (remember) {
    const one = selection.strong.size === 1 ? `#n=${[...selection.strong][0]}` : " ";
    try { history.replaceState(null, "", one === " " ? location.pathname + location.search : one); } catch { /* a frame without a location */ }
  }
  return counts;
}

function reveal(column) {
  if (column.element.classList.contains("shut")) return;
  const row = $(".row.sel", column.body) || $(".row.rel", column.body);
  if (!row || !row.offsetParent) return;
  const box = row.getBoundingClientRect(), frame = column.body.getBoundingClientRect();
  if (box.top < frame.top + 24 || box.bottom > frame.bottom - 24) column.body.scrollTop += box.top - frame.top - frame.height / 3;
}

// Scroll a step of the overview into its card, if it is not there.
function centre(element) {
  const card = element.closest(".card > div");
  const box = element.getBoundingClientRect(), frame = card.getBoundingClientRect();
  if (box.top < frame.top || box.bottom > frame.bottom) card.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
  if (box.left < frame.left || box.right > frame.right) card.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
}

function drawRulers() {
  for (const column of columns) {
    const height = column.body.scrollHeight;
    const marks = [];
    if (selection.strong.size && !column.element.classList.contains("shut") && height > column.body.clientHeight + 4) {
      const top = column.body.getBoundingClientRect().top - column.body.scrollTop;
      let last = -1;
      for (const row of $$(".row.sel, .row.rel", column.body)) {
        if (!row.offsetParent) continue;
        const at = ((row.getBoundingClientRect().top - top) / height) * 100;
        const strong = row.classList.contains("sel");
        if (!strong && at - last < 0.4) continue;
        last = at;
        marks.push(make("i", { class: strong ? "sel" : "", style: `top:${at.toFixed(2)}%` }));
      }
    }
    column.ruler.replaceChildren(...marks);
  }
}

function clearNames() { $$(".n.same").forEach((element) => element.classList.remove("same")); }
function markName(part, name) {
  for (const row of part.rows || []) for (const element of row.children) if (element.textContent === name) element.classList.add("same");
}

function describe(counts) {
  const what = $("footer .what"), trail = $("footer .trail");
  if (!selection.strong.size) {
    what.textContent = "";
    trail.replaceChildren(...hints());
    return;
  }
  const numbers = [...selection.strong];
  const [op, type, at] = PAGE.origins[numbers[0]];
  const where = at ? `  ·  ${at[0].split("/").pop()}:${at[1]}` : "";
  what.textContent = numbers.length === 1 ? `${op} : ${type}${where}` : selection.title || `${numbers.length} nodes`;
  trail.replaceChildren(...Object.entries(counts).map(([stage, n]) => make("span", { class: n ? "" : "none" }, `${stage} `, make("b", {}, n))));
}

function hints() {
  const keys = [["click", "follow a value"], ["/", "search"], ["↑ ↓", "next node"], ["← →", "stage"], ["Esc", "clear"], ["o", "overview"], ["d", "dark"]];
  return keys.map(([key, does]) => make("span", { style: "border:none;padding-left:0" }, make("kbd", {}, key), ` ${does}`));
}

// --- Events in the stages ----------------------------------------------------------------------------------------------------------

let focus = 0;
function setFocus(index) {
  focus = (index + columns.length) % columns.length;
  columns.forEach((column, k) => column.element.classList.toggle("focus", k === focus));
}

function rowOf(event) { const row = event.target.closest(".row"); return row && row.owner ? row : null; }

function onClick(event) {
  const row = rowOf(event);
  if (!row || String(getSelection())) return;
  setFocus(row.owner.column.index);
  const place = event.target.classList.contains("c") && event.target.textContent.match(/^\/\/ (\S+):(\d+)$/);
  if (place) {
    const numbers = PAGE.origins.flatMap(([, , at], n) => (at && at[0].endsWith(place[1]) && at[1] === +place[2] ? [n] : []));
    selection.title = `${place[1]}:${place[2]}`;
    select(numbers, { from: row });
    return;
  }
  const name = event.target.classList.contains("n") ? event.target.textContent : "";
  const meant = name ? row.owner.meaning(name) : undefined;
  const numbers = meant !== undefined ? [meant] : row.owner.about(row.line);
  const known = numbers.length && numbers.every((n) => selection.strong.has(n)) && selection.strong.size === numbers.length;
  if (known && row === selection.at && !name) { select([]); return; }
  selection.title = row.owner.column.name === "source" ? row.textContent.replace(/^\d+/, "").trim() : row.owner.section.title;
  select(numbers, { from: row, name });
}

let previewed = [], wanted = null;
function onHover(event) {
  const row = rowOf(event);
  if (row === wanted) return;
  wanted = row;
  requestAnimationFrame(() => {
    previewed.forEach((each) => each.classList.remove("pre"));
    previewed = [];
    if (!wanted || !wanted.classList.contains("on")) return;
    for (const number of wanted.owner.about(wanted.line).slice(0, 40)) {
      for (const { part, line } of places.get(number) || []) {
        const each = part.rows && part.rows[line];
        if (each) { each.classList.add("pre"); previewed.push(each); }
      }
    }
  });
}

function step(direction) {
  const column = columns[focus];
  const rows = column.parts.filter((part) => part.rows && !part.element.classList.contains("shut")).flatMap((part) => part.rows);
  const linked = rows.filter((row) => row.classList.contains("on"));
  if (!linked.length) return;
  const current = linked.indexOf(selection.at && selection.at.owner.column === column ? selection.at : $(".row.sel", column.body));
  const row = linked[current < 0 ? 0 : (current + direction + linked.length) % linked.length];
  selection.title = row.owner.section.title;
  select(row.owner.about(row.line), { from: row });
  row.scrollIntoView({ block: "nearest" });
}

// --- Search ----------------------------------------------------------------------------------------------------------------------------

const search = { hits: [], at: -1 };
function find(text) {
  $$(".row.found").forEach((row) => row.classList.remove("found"));
  search.hits = [];
  search.at = -1;
  if (text.length > 1) {
    const needle = text.toLowerCase();
    for (const column of columns) {
      for (const part of column.parts) {
        part.section.lines.forEach(([line], index) => { if (line.toLowerCase().includes(needle)) search.hits.push({ part, line: index }); });
      }
    }
    for (const { part, line } of search.hits) if (part.rows) part.rows[line].classList.add("found");
  }
  $(".search output").textContent = text.length > 1 ? full(search.hits.length) : "";
}

function next(direction) {
  if (!search.hits.length) return;
  search.at = (search.at + direction + search.hits.length) % search.hits.length;
  const { part, line } = search.hits[search.at];
  part.column.element.classList.remove("shut");
  part.toggle(true);
  const row = part.rows[line];
  row.classList.add("found");
  $(".search output").textContent = `${search.at + 1} / ${search.hits.length}`;
  if (part.about(line).length) select(part.about(line), { from: row });
  part.column.element.scrollIntoView({ inline: "nearest", block: "nearest" });
  row.scrollIntoView({ block: "center", inline: "nearest" });
}

// --- The overview ------------------------------------------------------------------------------------------------------------------------

const HUES = ["#6366f1", "#0d9488", "#d97706", "#db2777", "#2563eb", "#65a30d", "#9333ea", "#64748b"];
const kindClass = (kind) => (["kernel", "product", "scatter"].includes(kind) ? kind : "other");

function buildFacts() {
  const { cost, unfused, arena, live, nodes, times } = PAGE;
  const moved = cost.read + cost.written, alone = unfused.read + unfused.written;
  const saved = typeof moved === "number" && alone > moved ? ` −${Math.round(100 * (1 - moved / alone))} %` : "";
  const spent = Object.values(times).reduce((sum, ms) => sum + ms, 0);
  const kinds = {};
  for (const { kind } of PAGE.kernels) kinds[kind] = (kinds[kind] || 0) + 1;
  const facts = [
    ["nodes", nodes.join(" → "), "", "traced → differentiated → simplified"],
    ["steps", Object.entries(kinds).map(([kind, n]) => `${n} ${kind}`).join(" · ") || "none"],
    ["flops", short(cost.flops), cost.transcendental ? ` + ${short(cost.transcendental)} elementary` : "", full(cost.flops)],
    ["bytes moved", bytes(moved), "", `${full(cost.read)} read, ${full(cost.written)} written; ${full(alone)} if every node ran alone`, saved],
    ["arena", bytes(arena), "", `${full(arena)} bytes, ${full(live)} alive at once`],
    ["compiled in", `${spent.toFixed(0)} ms`],
  ];
  $(".facts").append(...facts.map(([label, value, more, title, good]) =>
    make("div", { class: "fact", title: title || "" }, make("b", {}, label), make("span", {}, value, make("i", {}, more || ""), make("em", {}, good || "")))));
}

function buildTable() {
  const largest = Math.max(1, ...PAGE.kernels.map((k) => k.flops + k.transcendental).filter(Number.isFinite));
  const heads = [
    ["step", (k) => k.order, "left"], ["over", (k) => k.over.length, "left"], ["nodes", (k) => k.nodes], ["flops", (k) => k.flops + k.transcendental],
    ["read", (k) => k.read], ["written", (k) => k.written], ["flop/B", (k) => (k.flops + k.transcendental) / (k.read + k.written || 1)],
  ];
  const rows = PAGE.kernels.map((k, order) => {
    k.order = order;
    const work = k.flops + k.transcendental, moved = k.read + k.written;
    const meter = make("span", { class: "meter" }, make("b", { style: `width:${typeof work === "number" ? (100 * work) / largest : 0}%` }));
    const row = make("tr", { "data-numbers": JSON.stringify(k.numbers), title: `reads ${k.reads.join(", ") || "nothing"}\nwrites ${k.writes.join(", ")}\n${k.schedule}${k.reason ? `\nnot fused: ${k.reason}` : ""}` },
      make("td", { class: "left mono" }, make("i", { class: kindClass(k.kind) }), `@${k.name}`), make("td", { class: "left mono" }, k.over),
      make("td", {}, k.nodes), make("td", { title: full(work) }, short(work), meter), make("td", {}, bytes(k.read)), make("td", {}, bytes(k.written)),
      make("td", {}, typeof moved === "number" && moved ? (work / moved).toFixed(work / moved < 10 ? 1 : 0) : "–"));
    row.onclick = () => { selection.title = `@${k.name}`; select(k.numbers); };
    row.kernel = k;
    return row;
  });
  const body = make("tbody", {}, ...rows);
  let sorted = 0;
  const head = make("tr", {}, ...heads.map(([label, key, side], index) => make("th", { class: side || "", onclick: () => {
    const sign = sorted === index + 1 ? 1 : -1;
    sorted = sign < 0 ? index + 1 : -1;
    body.append(...rows.sort((a, b) => sign * (key(a.kernel) - key(b.kernel))));
  } }, label)));
  $(".costs > div").append(make("table", {}, make("thead", {}, head), body));
}

function buildAside() {
  const box = $(".aside > div");
  const lying = PAGE.memory.filter((entry) => typeof entry.offset === "number" && entry.first !== null);
  if (lying.length && typeof PAGE.arena === "number") {
    const last = Math.max(...lying.map((entry) => entry.last)) + 1;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "arena");
    svg.setAttribute("viewBox", `0 0 ${last} ${PAGE.arena}`);
    svg.setAttribute("preserveAspectRatio", "none");
    for (const entry of lying) {
      const rect = document.createElementNS(svg.namespaceURI, "rect");
      const sizes = { x: entry.first, y: PAGE.arena - entry.offset - entry.bytes, width: entry.last - entry.first + 1, height: entry.bytes };
      for (const [key, value] of Object.entries(sizes)) rect.setAttribute(key, value);
      rect.dataset.numbers = JSON.stringify(entry.number === null ? [] : [entry.number]);
      const title = document.createElementNS(svg.namespaceURI, "title");
      title.textContent = `${entry.value}: ${full(entry.bytes)} bytes at ${full(entry.offset)}, steps ${entry.first} to ${entry.last}`;
      rect.append(title);
      if (entry.number !== null) rect.onclick = () => select([entry.number]);
      svg.append(rect);
    }
    box.append(svg, make("p", {}, `${lying.length} values share ${bytes(PAGE.arena)} over ${last} steps`));
  } else box.append(make("p", { style: "margin-top:12px" }, typeof PAGE.arena === "number" ? "Nothing lies in the arena: every value is an input, an output or in registers." : `arena: ${PAGE.arena} bytes`));
  const times = Object.entries(PAGE.times);
  const spent = times.reduce((sum, [, ms]) => sum + ms, 0) || 1;
  const colours = times.map((_, k) => HUES[k % HUES.length]);
  box.append(make("h3", {}, "Compile time"),
    make("div", { class: "bars" }, ...times.map(([name, ms], k) => make("span", { title: `${name} ${ms} ms`, style: `width:${(100 * ms) / spent}%;background:${colours[k]}` }))),
    make("div", { class: "keys" }, ...times.map(([name, ms], k) => make("span", {}, make("i", { style: `background:${colours[k]}` }), `${name} ${ms.toFixed(1)} ms`))));
  if (PAGE.rules.length) {
    box.append(make("h3", {}, "Rules applied"),
      make("div", { class: "rules" }, ...PAGE.rules.map(([rule, n]) => make("span", {}, `${rule} `, make("b", {}, n)))));
  }
}

function linkSteps() {
  for (const box of $$(".steps .box")) {
    const kernel = PAGE.kernels.find((k) => k.name === box.dataset.name);
    box.onclick = () => { selection.title = `@${kernel.name}`; select(kernel.numbers); };
  }
  if ($(".steps .box")) centre($(".steps .box"));
}

// --- Theme, keys, start ----------------------------------------------------------------------------------------------------------------------

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("rustorch-theme", theme); } catch { /* no storage on this page */ }
}

function firstTheme() {
  try { const kept = localStorage.getItem("rustorch-theme"); if (kept) return kept; } catch { /* no storage on this page */ }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

const toggleTheme = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
function toggleOverview() {
  const overview = $(".overview");
  overview.hidden = !overview.hidden;
  $("#overview").setAttribute("aria-pressed", String(!overview.hidden));
  drawRulers();
}

function onKey(event) {
  const field = $(".search input");
  if (event.target === field) {
    if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { field.value = ""; find(""); field.blur(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    "/": () => { field.focus(); field.select(); },
    Escape: () => select([]),
    ArrowLeft: () => { setFocus(focus - 1); columns[focus].element.scrollIntoView({ inline: "nearest" }); },
    ArrowRight: () => { setFocus(focus + 1); columns[focus].element.scrollIntoView({ inline: "nearest" }); },
    ArrowUp: () => step(-1), ArrowDown: () => step(1), d: toggleTheme, o: toggleOverview,
    Enter: () => columns[focus].element.classList.toggle("shut"),
  };
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
}

// With `#check` the page clicks through itself and leaves what it found in the attribute data-check of the document.
function check() {
  const found = { rows: {}, clicks: [] };
  for (const column of columns) {
    column.parts.forEach((part) => part.toggle(true));
    found.rows[column.name] = $$(".row", column.body).length;
  }
  const counted = () => Object.fromEntries(columns.map((column) => [column.name, $$(".row.sel", column.body).length]));
  const simplified = columns.find((column) => column.name === "simplified");
  for (const row of $$(".row.on", simplified.body)) {
    if (row.owner.links(row.line).length !== 1) continue;
    row.click();
    found.clicks.push({ number: row.owner.links(row.line)[0], counts: counted(), related: $$(".row.rel").length });
  }
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  found.cleared = $$(".row.sel, .row.rel, tr.sel, .box.sel").length;
  const line = $(".row.on", columns[0].body);
  if (line) { line.click(); found.line = counted(); }
  find("mul"); found.search = search.hits.length; find("");
  found.boxes = $$(".steps .box").length;
  found.table = $$(".costs tbody tr").length;
  document.documentElement.dataset.check = JSON.stringify(found);
}

function start() {
  setTheme(firstTheme());
  buildColumns();
  buildFacts();
  buildTable();
  buildAside();
  linkSteps();
  setFocus(columns.findIndex((column) => column.name === "simplified"));
  $("main").addEventListener("click", onClick);
  $("main").addEventListener("mouseover", onHover);
  $(".search input").addEventListener("input", (event) => find(event.target.value.trim()));
  document.addEventListener("keydown", onKey);
  $("#theme").onclick = toggleTheme;
  $("#overview").onclick = toggleOverview;
  $(".divider").onpointerdown = (event) => drag(event, $(".overview"), true);
  addEventListener("resize", drawRulers);
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("theme")) document.documentElement.dataset.theme = asked.get("theme");
  if (asked.has("n") && PAGE.origins[+asked.get("n")]) select([+asked.get("n")], { remember: false });
  else describe({});
  if (asked.has("check")) check();
}

start();
