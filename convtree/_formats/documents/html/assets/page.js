// The page: reads its data, and connects the conversation, the side bar, the keys and the address.

const $ = (selector) => document.querySelector(selector);
const tree = new Tree();
const blocks = new Blocks();
const main = $("main");
let labels = {};
let current = null;
let words = [];

function readData() {
  const data = document.querySelectorAll('script[type="application/json"]');
  let rows = null, facts = { leaf: -1, labels: {}, gaps: {}, certain: true };
  for (const element of data) {
    if (element.className === "markup") {
      blocks.add(rows, element);
    } else if (element.className === "rows") {
      rows = JSON.parse(element.textContent);
      for (const row of rows) tree.add(row);
      element.remove();
    } else {
      facts = JSON.parse(element.textContent);
      element.remove();
    }
  }
  return facts;
}

const facts = readData();
labels = facts.labels;
const view = new Conversation(main, tree, blocks, switchTo);
view.labels = labels;
view.gaps = facts.gaps;

// --- the side bar ---

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const KINDS = { compaction: "Summary", summary: "Branch summary", user: "", lost: "Damaged" };

function goLine(className, entry, text, go) {
  const line = make("a", `line ${className}`);
  line.href = `#${encodeURIComponent(entry.id)}`;
  line.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go();
    if (isNarrow()) document.body.classList.remove("with-side");
  });
  const words = make("bdi", "words", text);
  words.dir = "auto";
  line.append(words);
  return line;
}

const prompts = new LongList($('[data-list="prompts"]'), 32, ({ entry, label, day, isElsewhere }) => {
  const kind = KINDS[entry.kind] ?? "";
  const text = label !== undefined ? `★ ${label}` : [kind, entry.words].filter(Boolean).join(": ") || "(empty)";
  const className = (label !== undefined ? "label " : "") + entry.kind + (entry === prompts.active ? " active" : "");
  const line = goLine(className, entry, text, () => goTo(entry));
  const siblings = tree.siblings(entry);
  if (siblings.length > 1) line.append(make("span", "fork", `${siblings.indexOf(entry) + 1}/${siblings.length}`));
  if (day) line.append(make("span", "day", day));
  if (isElsewhere) line.append(make("span", "day", "other branch"));
  if (entry === prompts.active) line.setAttribute("aria-current", "true");
  return line;
});

const map = new LongList($('[data-list="map"]'), 36, (item) => {
  const { run, depth } = item;
  const entry = run.title ?? run.first;
  const text = [...run.labels.map((label) => `★ ${label}`), entry.words || entry.kind].join(" · ");
  const line = goLine(run.isActive ? "run active" : "run", run.first, text, () => {
    switchTo(run.isActive ? view.path.at(-1) : tree.tip(run.first), run.first);
  });
  line.prepend(graphOf(item));
  line.append(make("span", "fork", compact(run.size)));
  line.title = `${counted(run.size, "entry", "entries")}; branch depth ${depth}`;
  return line;
});

const hits = new LongList($('[data-list="hits"]'), 68, ({ entry, snippet }) => {
  const line = goLine("hit", entry, "", () => goTo(entry));
  const text = line.querySelector(".words");
  appendMarked(text, snippet, words);
  const when = entry.time ? new Date(entry.time) : null;
  const branch = view.onPath.has(entry) ? "" : "other branch";
  const parts = [entry.kind, when && !Number.isNaN(when.getTime()) ? DATE.format(when) : "", labels[entry.row] ?? "", branch];
  line.prepend(make("span", "about-hit", parts.filter(Boolean).join(" · ")));
  return line;
});

// Draws the lines of the map beside a run. The shapes are made here; no text is in them.
function graphOf({ run, depth, open, isSide, goesOn }) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const x = (column) => 9 + Math.min(column, 12) * 14;
  svg.setAttribute("width", x(depth) + 10);
  svg.setAttribute("height", 36);
  svg.setAttribute("aria-hidden", "true");
  const draw = (name, attributes) => {
    const shape = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  };
  for (let column = 0; column < depth; column++) {
    if (open & (1 << column)) draw("path", { d: `M${x(column)} 0V36` });
  }
  if (isSide) draw("path", { d: `M${x(depth - 1)} 0C${x(depth - 1)} 12 ${x(depth)} 6 ${x(depth)} 18` });
  else if (run.parent) draw("path", { d: `M${x(depth)} 0V18` });
  if (goesOn) draw("path", { d: `M${x(depth)} 18V36` });
  draw("circle", { cx: x(depth), cy: 18, r: run.isActive ? 5 : 4, class: run.isActive ? "active" : "" });
  return svg;
}

const lists = { prompts, map, hits };

function showTab(name) {
  for (const [each, list] of Object.entries(lists)) {
    list.box.hidden = each !== name;
    $(`[data-tab="${each}"]`).setAttribute("aria-pressed", String(each === name));
  }
  lists[name].draw();
  if (name === "map") map.reveal(map.items.findLastIndex((item) => item.run.isActive));
  about();
}

const shownTab = () => Object.keys(lists).find((name) => !lists[name].box.hidden);
let searched = "";

function about() {
  const tab = shownTab();
  const own = prompts.items.filter((item) => !item.isElsewhere).length;
  const text = { prompts: `${counted(own, "line")} for this branch`, map: counted(map.items.length, "segment"), hits: searched };
  $(".about").textContent = text[tab];
}

// --- the branch in view ---

function switchTo(tip, stay) {
  const path = tree.path(tip);
  const place = stay && view.placeOf?.has(stay.parent) ? view.elementOf(stay.parent)?.getBoundingClientRect().top : null;
  view.show(path);
  const lines = withDays(path.flatMap((entry) => {
    const label = labels[entry.row];
    const lines = entry.kind in KINDS ? [{ entry }] : [];
    return label === undefined ? lines : [{ entry, label }, ...lines];
  }));
  prompts.set([...lines, ...labelsElsewhere()]);
  map.set(tree.map(path, labels));
  sums();
  about();
  if (!stay) return;
  if (place !== null && place > -innerHeight && place < innerHeight) {
    const element = view.elementOf(stay);
    if (element) element.scrollIntoView({ block: "nearest" });
    setCurrent(stay);
  } else {
    goTo(stay);
  }
}

// The labels on other branches, below the contents of the one in view.
function labelsElsewhere() {
  const entries = Object.keys(labels).map((row) => tree.byRow.get(Number(row)));
  return entries.filter((entry) => entry && !view.onPath.has(entry)).sort((a, b) => a.row - b.row)
    .map((entry) => ({ entry, label: labels[entry.row], isElsewhere: true }));
}

// Adds the day, in local time, to the first line of each day.
function withDays(lines) {
  let before = "";
  for (const line of lines) {
    const time = new Date(line.entry.time ?? "");
    if (Number.isNaN(time.getTime())) continue;
    const day = time.toDateString();
    if (day !== before) line.day = DAY.format(time);
    before = day;
  }
  return lines;
}

function sums() {
  const all = tree.entries.reduce((sum, entry) => sum.add(entry), new Sum());
  const here = view.path.reduce((sum, entry) => sum.add(entry), new Sum());
  const asked = view.path.filter((entry) => entry.kind === "user").length;
  const leaves = tree.entries.filter((entry) => !entry.children.length).length;
  const parts = [`${counted(view.path.length, "entry", "entries")} on this branch, ${counted(asked, "prompt")}`];
  if (leaves > 1) parts.push(`${counted(leaves, "branch", "branches")}, ${counted(tree.entries.length, "entry", "entries")} in all`);
  if (here.text) parts.push(leaves > 1 && all.text !== here.text ? `this branch: ${here.text}` : here.text);
  if (leaves > 1 && all.text && all.text !== here.text) parts.push(`all: ${all.text}`);
  if (!facts.certain) parts.push("the leaf is not certain, because of a damaged line");
  $(".sums").replaceChildren(...parts.map((part) => make("span", "", part)));
  countKinds();
}

// --- which kinds are shown ---

const choices = [...document.querySelectorAll("[data-show]")];

function countKinds() {
  const counts = Object.fromEntries(HIDEABLE.map((kind) => [kind, 0]));
  for (const entry of view.path) {
    counts.call += entry.results;
    for (const kind of kindsOf(entry)) if (kind !== "call" && kind in counts) counts[kind]++;
  }
  for (const each of choices) each.nextElementSibling.textContent = counts[each.dataset.show].toLocaleString();
}

function chooseKinds() {
  const hidden = choices.filter((each) => !each.checked).map((each) => each.dataset.show);
  $(".kinds > summary").textContent = hidden.length ? `Show ${choices.length - hidden.length} of ${choices.length}` : "Show";
  const stay = current;
  view.hide(hidden);
  if (stay && view.placeOf.has(stay)) view.goTo(stay);
}

function showAllKinds() {
  if (!view.hidden.size) return;
  for (const each of choices) each.checked = true;
  chooseKinds();
}

for (const each of choices) each.addEventListener("change", chooseKinds);

function goTo(entry) {
  if (!view.onPath.has(entry)) switchTo(tree.tip(entry));
  if (!view.placeOf.has(entry)) {
    view.folded.clear();
    showAllKinds();
    switchTo(view.path.at(-1));
  }
  const element = view.goTo(entry);
  if (element && words.length) highlightIn(element, words)?.scrollIntoView({ block: "center" });
  setCurrent(entry);
  history.replaceState(null, "", `#${encodeURIComponent(entry.id)}`);
}

function setCurrent(entry) {
  if (current === entry) return;
  current = entry;
  for (const each of main.querySelectorAll(".current")) each.classList.remove("current");
  view.sectionOf(entry)?.querySelector(`article[data-row="${Number(entry.row)}"]`)?.classList.add("current");
  const at = view.placeOf.get(entry) ?? 0;
  let low = 0, high = prompts.items.length - 1, found = -1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if ((view.placeOf.get(prompts.items[middle].entry) ?? 0) <= at) [found, low] = [middle, middle + 1];
    else high = middle - 1;
  }
  const active = prompts.items[found]?.entry ?? null;
  if (prompts.active === active) return;
  prompts.active = active;
  prompts.reveal(found);
  prompts.draw();
}

let isWaiting = false;
addEventListener("scroll", () => {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => {
    isWaiting = false;
    const entry = view.atTop();
    if (entry) setCurrent(entry);
  });
}, { passive: true });

// --- search ---

const search = new Search(tree, blocks, (found, count, isDone) => {
  hits.set(found);
  const more = count > found.length ? `, the first ${found.length.toLocaleString()} are listed` : "";
  searched = isDone ? counted(count, "entry found", "entries found") + more : `searching… ${count.toLocaleString()}`;
  about();
});

let typing = 0;
function lookFor(query) {
  words = search.words(query);
  $('[data-tab="hits"]').hidden = !words.length;
  if (!words.length) {
    window.CSS?.highlights?.clear();
    showTab("prompts");
    search.start("");
    return;
  }
  showTab("hits");
  search.start(query);
}

$(".query").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => lookFor(event.target.value), 120);
});
$(".query").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    event.target.value = "";
    lookFor("");
    event.target.blur();
  } else if (event.key === "Enter" && hits.items.length) {
    goTo(hits.items[0].entry);
  }
});

// --- buttons and keys ---

function step(by, isWanted) {
  const items = view.items;
  let at = current ? (view.placeOf.get(current) ?? -1) : -1;
  for (at += by; at >= 0 && at < items.length; at += by) {
    const entry = items[at].entry;
    if (entry && isWanted(entry)) {
      goTo(entry);
      return;
    }
  }
}

function stepBranch(by) {
  for (let entry = current; entry; entry = entry.parent) {
    const siblings = tree.siblings(entry);
    if (siblings.length < 2) continue;
    const other = siblings[siblings.indexOf(entry) + by];
    if (other) switchTo(tree.tip(other), other);
    return;
  }
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggle(name, what) {
  const element = $(`[data-do="${name}"]`);
  const isOn = element.getAttribute("aria-pressed") !== "true";
  element.setAttribute("aria-pressed", String(isOn));
  view.unfold(what, isOn);
}

const help = $("dialog.help");
const actions = {
  tools: () => toggle("tools", "call"),
  thoughts: () => toggle("thoughts", "thought"),
  theme: () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; },
  help: () => (help.open ? help.close() : help.showModal()),
};
for (const element of document.querySelectorAll("[data-do]")) element.addEventListener("click", actions[element.dataset.do]);
for (const element of document.querySelectorAll("[data-tab]")) element.addEventListener("click", () => showTab(element.dataset.tab));
const isNarrow = () => matchMedia("(max-width: 60rem)").matches;
$(".menu").addEventListener("click", (event) => {
  document.body.classList.toggle(isNarrow() ? "with-side" : "without-side");
  event.stopPropagation();
});

function hideSide() {
  document.body.classList.remove("with-side");
  $(".kinds").open = false;
}

$(".close").addEventListener("click", hideSide);
document.addEventListener("click", (event) => {
  if (!event.target.closest(".side, .kinds")) hideSide();
});

function showSide() {
  document.body.classList.remove("without-side");
  if (isNarrow()) document.body.classList.add("with-side");
}

const isEntry = (entry) => entry.kind !== "tool";
const keys = {
  j: () => step(1, isEntry),
  k: () => step(-1, isEntry),
  n: () => step(1, (entry) => entry.kind === "user"),
  p: () => step(-1, (entry) => entry.kind === "user"),
  "[": () => stepBranch(-1),
  "]": () => stepBranch(1),
  "/": () => { showSide(); $(".query").focus(); $(".query").select(); },
  c: () => { showSide(); showTab("prompts"); },
  m: () => { showSide(); showTab("map"); },
  t: actions.tools,
  e: actions.thoughts,
  f: () => { $(".kinds").open = !$(".kinds").open; $(".kinds").open && choices[0].focus(); },
  Escape: hideSide,
  d: actions.theme,
  g: () => view.path.length && goTo(view.path[0]),
  G: () => view.path.length && goTo(view.path.at(-1)),
  "?": actions.help,
};
addEventListener("keydown", (event) => {
  // Many keyboards have [ and ] behind AltGr, which is Ctrl and Alt on Windows, and Option on a Mac.
  const isCommand = event.metaKey || (event.ctrlKey && !event.getModifierState("AltGraph")) || (event.altKey && !"[]".includes(event.key));
  if (isCommand || event.target.closest("input:not([type=checkbox]), textarea, select")) return;
  const action = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (!action || (help.open && event.key !== "?")) return;
  event.preventDefault();
  action();
});

// Paper is white.
let screenTheme;
addEventListener("beforeprint", () => {
  screenTheme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  view.fillAll();
});
addEventListener("afterprint", () => {
  if (screenTheme) document.documentElement.dataset.theme = screenTheme;
  else delete document.documentElement.dataset.theme;
});

// --- the address ---

function followAddress() {
  let address = "";
  try {
    address = decodeURIComponent(location.hash.slice(1));
  } catch {
    return; // not an address of this page
  }
  if (address.startsWith("search=")) {
    $(".query").value = address.slice(7);
    lookFor(address.slice(7));
    return;
  }
  const entry = address ? tree.withId(address) : null;
  if (entry) goTo(entry);
}

for (const time of document.querySelectorAll(".facts time")) localise(time);
const last = tree.byRow.get(facts.leaf) ?? (tree.entries.length ? tree.tip(tree.entries.at(-1)) : null);
if (last) switchTo(last);
else main.append(make("p", "gap", "This conversation has no entries."));
showTab("prompts");
addEventListener("hashchange", followAddress);
followAddress();
document.documentElement.dataset.ready = "true";
