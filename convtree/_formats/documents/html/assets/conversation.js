// The branch in view. Entries are put into the page, many together, when they come near.

// The only door from text to elements. What passes was made and escaped when the page was written.
const DOOR = window.trustedTypes
  ? window.trustedTypes.createPolicy("convtree", { createHTML: (markup) => markup })
  : { createHTML: (markup) => markup };

const HIDEABLE = ["user", "answer", "call", "thought", "note"];
const GROUP = 30;
const GUESS = 160; // pixels of an entry that was not shown yet
const UNSEEN = 1, PINNED = 2, FAILED = 8, TEXT = 16, CALLS = 32, THOUGHTS = 64; // flags
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const FULL_DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

// The kinds that a reader can hide: what an entry is, and for messages of a model what they hold.
function kindsOf(entry) {
  if (entry.kind === "user" || entry.kind === "lost") return [entry.kind];
  if (!["assistant", "tool", "other"].includes(entry.kind)) return ["note"];
  const kinds = [[TEXT, "answer"], [CALLS, "call"], [THOUGHTS, "thought"]].filter(([flag]) => entry.flags & flag);
  return kinds.length ? kinds.map(([, kind]) => kind) : ["answer"];
}

class Conversation {
  constructor(main, tree, blocks, switchTo) {
    this.main = main;
    this.tree = tree;
    this.blocks = blocks;
    this.switchTo = switchTo;
    this.labels = {}; // texts, by rows
    this.gaps = {}; // what is missing above rows
    this.path = [];
    this.onPath = new Set();
    this.items = [];
    this.sections = [];
    this.folded = new Set(); // compactions that show what the model saw
    this.unfolded = { call: false, thought: false };
    this.hidden = new Set(); // kinds that are not shown
    this.near = new IntersectionObserver((seen) => {
      for (const each of seen) if (each.isIntersecting) this.fill(each.target);
    }, { rootMargin: "1200px 0px" });
  }

  show(path) {
    this.path = path;
    this.onPath = new Set(path);
    Object.assign(this, turnsOf(path));
    this.replaced = new Map(path.filter((each) => each.link !== null && "user assistant system tool other".includes(each.kind)).map((each) => [each.link, each]));
    this.items = this.itemsOf(path).filter(({ entry }) => !entry || kindsOf(entry).some((kind) => !this.hidden.has(kind)));
    this.placeOf = new Map(this.items.map((item, at) => [item.entry ?? item, at]));
    const groups = [];
    for (let at = 0; at < this.items.length; ) {
      let end = Math.min(at + GROUP, this.items.length);
      while (end < this.items.length && end < at + 4 * GROUP && this.items[end].entry?.kind === "tool") end++;
      groups.push(this.items.slice(at, end));
      at = end;
    }
    let kept = 0;
    while (kept < groups.length && kept < this.sections.length && isSame(groups[kept], this.sections[kept].items)) kept++;
    if (this.grow(kept, groups[kept])) kept++;
    for (const old of this.sections.splice(kept)) {
      this.near.unobserve(old);
      old.remove();
    }
    for (const section of this.sections) this.update(section);
    const added = groups.slice(kept).map((items) => {
      const section = make("section", "group");
      section.items = items;
      section.style.minHeight = `${items.length * GUESS}px`;
      return section;
    });
    this.sections.push(...added);
    this.main.append(...added);
    for (const section of added) this.near.observe(section);
  }

  // Adds to a group that only becomes longer, so that what is unfolded in it stays so.
  grow(at, items) {
    const section = this.sections[at];
    const count = section?.items.length;
    if (!section || !items || items.length <= count || !isSame(items.slice(0, count), section.items)) return false;
    section.items = items;
    if (!section.isFilled) return true;
    section.append(...this.build(section, items.slice(count)));
    joinResults([...section.children]);
    return true;
  }

  // Makes the heads anew of the entries about which something is new: siblings, labels, sums.
  update(section) {
    if (!section.isFilled) return;
    for (const { entry } of section.items) {
      if (!entry || section.states.get(entry) === stateOf(entry, this)) continue;
      section.states.set(entry, stateOf(entry, this));
      section.querySelector(`article[data-row="${Number(entry.row)}"] > header`)?.replaceWith(this.headOf(entry));
    }
  }

  // What is in view: the entries of the path, or what the model saw where a compaction is folded: pinned messages, the
  // summary, and what was kept, without what is hidden from the model or replaced.
  itemsOf(path) {
    let items = [];
    for (const entry of path) {
      if (!this.folded.has(entry.row)) {
        items.push({ entry });
        continue;
      }
      const pinned = [], kept = [];
      const keptFrom = items.findIndex((item) => item.entry && item.entry.row === entry.link);
      let hidden = 0;
      items.forEach((item, at) => {
        const isKept = keptFrom >= 0 && at >= keptFrom;
        const isSeen = item.entry && !(item.entry.flags & UNSEEN) && !this.replaced.has(item.entry.row);
        if (isSeen && isKept) kept.push(item);
        else if (isSeen && item.entry.flags & PINNED) pinned.push(item);
        else hidden += item.count ?? 1;
      });
      items = [{ count: hidden, of: entry }, ...pinned, { entry }, ...kept];
    }
    return items;
  }

  fill(section) {
    if (section.isFilled) return;
    section.isFilled = true;
    section.states = new Map();
    this.near.unobserve(section);
    const shown = this.build(section, section.items);
    joinResults(shown);
    section.replaceChildren(...shown);
    section.removeAttribute("style");
  }

  // Makes the elements of entries, and notes in which state their heads are.
  build(section, items) {
    const template = document.createElement("template");
    const markup = items.map((item) => (item.entry ? `<article>${this.blocks.markup(item.entry.row)}</article>` : ""));
    template.innerHTML = DOOR.createHTML(markup.join(""));
    const articles = [...template.content.children];
    const shown = [];
    for (const item of items) {
      if (!item.entry) {
        shown.push(this.noteOf(item));
        continue;
      }
      const article = articles.shift();
      this.complete(article, item.entry);
      section.states.set(item.entry, stateOf(item.entry, this));
      if (item.entry.isOrphan) shown.push(make("p", "gap", this.gaps[item.entry.row] ?? "[messages are missing here]"));
      shown.push(article);
    }
    return shown;
  }

  fillAll() {
    for (const section of this.sections) this.fill(section);
  }

  complete(article, entry) {
    article.className = `entry ${entry.kind}`;
    article.dataset.row = entry.row;
    article.tabIndex = -1;
    article.prepend(this.headOf(entry));
    for (const [name, isOpen] of Object.entries(this.unfolded)) {
      if (isOpen) for (const each of article.querySelectorAll(`details.${name}`)) each.open = true;
    }
  }

  // Makes the head of an entry, with what depends on the branch in view: the switch, sums, the model if it changed.
  headOf(entry) {
    const header = make("header");
    const add = (className, text) => header.append(make("span", className, text));
    const turn = this.turns.get(entry);
    const siblings = this.tree.siblings(entry);
    header.append(make("h2", "", entry.title));
    if (entry.note) add("note", entry.note);
    if (entry.model && entry.kind !== "model" && !this.sameModel.has(entry)) add("model", entry.model);
    for (const state of entry.states) add("state", state);
    if (entry.flags & FAILED) add("state bad", "failed");
    if (this.labels[entry.row] !== undefined) add("label", this.labels[entry.row]);
    if (siblings.length > 1) header.append(this.switchOf(entry, siblings));
    if (entry.kind === "compaction") header.append(this.foldOf(entry));
    if (entry.kind === "summary" && this.tree.byRow.has(entry.link)) {
      const other = this.tree.byRow.get(entry.link);
      header.append(button("", "Go to that branch", "", () => this.switchTo(other)));
    }
    const replacement = this.replaced.get(entry.row);
    if (replacement) header.append(button("", "Replaced below", "", () => this.goTo(replacement)));
    add("room", "");
    if (turn?.text) add("usage", turn.text);
    const place = make("span", "place");
    if (entry.time) {
      const time = make("time", "", entry.time);
      time.dateTime = entry.time;
      localise(time);
      place.append(time);
    }
    const link = make("a", "permalink", "#");
    link.href = `#${encodeURIComponent(entry.id)}`;
    link.title = link.ariaLabel = "Link to this entry";
    place.append(link);
    header.append(place);
    return header;
  }

  switchOf(entry, siblings) {
    const at = siblings.indexOf(entry);
    const box = make("span", "switch");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Branches");
    const step = (by, text, label) => {
      const other = siblings[at + by];
      const element = button("", text, label, () => this.switchTo(this.tree.tip(other), other));
      element.disabled = !other;
      return element;
    };
    box.append(step(-1, "‹", "Previous branch"), make("span", "", ` ${at + 1}/${siblings.length} `), step(1, "›", "Next branch"));
    return box;
  }

  foldOf(entry) {
    const isFolded = this.folded.has(entry.row);
    return button("fold", isFolded ? "Show the originals" : "Show what the model saw", "", () => {
      if (!this.folded.delete(entry.row)) this.folded.add(entry.row);
      this.sections.splice(0).forEach((section) => section.remove());
      this.show(this.path);
      this.goTo(entry);
    });
  }

  noteOf(item) {
    const note = make("p", "gap", `${counted(item.count, "entry", "entries")} that the summary stands for. `);
    note.append(button("fold", "Show the originals", "", () => {
      this.folded.delete(item.of.row);
      this.sections.splice(0).forEach((section) => section.remove());
      this.show(this.path);
      this.goTo(item.of);
    }));
    return note;
  }

  sectionOf(entry) {
    const at = this.placeOf.get(entry);
    if (at === undefined) return null;
    let low = 0, high = this.sections.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.placeOf.get(firstOf(this.sections[middle])) <= at) low = middle;
      else high = middle - 1;
    }
    return this.sections[low] ?? null;
  }

  elementOf(entry) {
    const section = this.sectionOf(entry);
    if (!section) return null;
    this.fill(section);
    return section.querySelector(`[data-row="${Number(entry.row)}"]`);
  }

  // Scrolls to an entry of the branch in view. What comes into view on the way may move it, so it looks again.
  goTo(entry, { smooth = false } = {}) {
    const element = this.elementOf(entry);
    if (!element) return null;
    for (let each = element.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
    if (element.tagName === "DETAILS") element.open = true;
    const scroll = () => element.scrollIntoView({ block: "start", behavior: smooth ? "smooth" : "instant" });
    scroll();
    if (!smooth) requestAnimationFrame(() => { scroll(); requestAnimationFrame(scroll); });
    return element;
  }

  // The entry at the top of the window.
  atTop() {
    const line = 90;
    let low = 0, high = this.sections.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sections[middle].getBoundingClientRect().bottom <= line) low = middle + 1;
      else high = middle;
    }
    const section = this.sections[low];
    if (!section) return null;
    for (const article of section.querySelectorAll("article:not([hidden])")) {
      if (article.getBoundingClientRect().bottom > line) return this.tree.byRow.get(Number(article.dataset.row));
    }
    return section.items[0]?.entry ?? null;
  }

  // Shows entries and parts of these kinds only.
  hide(kinds) {
    this.hidden = new Set(kinds);
    for (const kind of HIDEABLE) this.main.classList.toggle(`without-${kind}`, this.hidden.has(kind));
    this.show(this.path);
  }

  unfold(name, isOpen) {
    this.unfolded[name] = isOpen;
    for (const each of this.main.querySelectorAll(`details.${name}`)) each.open = isOpen;
  }
}

function firstOf(section) {
  const [first] = section.items;
  return first.entry ?? first;
}

function isSame(items, others) {
  return items.length === others.length && items.every((item, at) => item.entry && item.entry === others[at].entry);
}

function stateOf(entry, view) {
  const siblings = view.tree.siblings(entry);
  const replacement = view.replaced.get(entry.row)?.row;
  return [siblings.length, siblings.indexOf(entry), view.labels[entry.row], view.turns.get(entry)?.text, replacement, entry.flags, entry.states].join("\n");
}

function localise(time) {
  const date = new Date(time.dateTime);
  if (Number.isNaN(date.getTime())) return;
  time.textContent = DATE.format(date);
  time.title = FULL_DATE.format(date);
}

// What a prompt started, up to the next one: answers, tokens, cost, time. The text is made when it is needed.
class Turn {
  constructor(prompt) {
    this.prompt = prompt;
    this.sum = new Sum();
    this.last = prompt;
    this.results = 0;
  }

  add(entry) {
    this.sum.add(entry);
    this.results += entry.results;
    if (entry.time) this.last = entry;
  }

  get text() {
    const took = Date.parse(this.last.time) - Date.parse(this.prompt.time);
    const parts = [this.results ? counted(this.results, "tool result") : "", this.sum.text, took >= 1000 ? duration(took) : ""];
    return parts.filter(Boolean).join(" · ");
  }
}

// The turns by their prompts, and the answers that are of the same model as the one before.
function turnsOf(path) {
  const turns = new Map();
  const sameModel = new Set();
  let turn = null, model = null;
  for (const entry of path) {
    if (entry.kind === "user") turns.set(entry, (turn = new Turn(entry)));
    else turn?.add(entry);
    if (entry.kind !== "assistant") continue;
    if (entry.model === model) sameModel.add(entry);
    model = entry.model ?? model;
  }
  return { turns, sameModel };
}

// Puts results into their calls. An entry that has nothing but results is not shown beside them.
function joinResults(shown) {
  const calls = new Map();
  for (const element of shown) {
    for (const call of element.querySelectorAll("details.call")) calls.set(call.dataset.call, call);
    if (element.tagName !== "ARTICLE" || !element.classList.contains("tool")) continue;
    const row = element.dataset.row;
    for (const result of element.querySelectorAll(":scope > details.result")) {
      const call = calls.get(result.dataset.result);
      if (!call) continue;
      const figures = [];
      for (let next = result.nextElementSibling; next?.tagName === "FIGURE"; next = next.nextElementSibling) figures.push(next);
      result.dataset.row = row;
      result.open = true;
      call.append(result);
      call.after(...figures);
      call.classList.add("done");
      if (result.classList.contains("failed")) call.classList.add("failed");
    }
    if (element.children.length > 1) continue;
    element.hidden = true;
    delete element.dataset.row;
  }
}
