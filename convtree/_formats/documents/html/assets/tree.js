// The tree, from rows alone. Parents come before their children, so every sum is one loop and nothing recurses.

class Tree {
  constructor() {
    this.entries = [];
    this.roots = [];
    this.byRow = new Map();
    this.ids = null;
  }

  // An entry is made of an array, by index: taking it apart by a pattern costs three times as much.
  add(row) {
    if (this.byRow.has(row[0])) return null;
    const parent = this.byRow.get(row[1]) ?? null;
    const entry = {
      row: row[0], parent, isOrphan: parent === null && row[1] !== -1, id: row[2], kind: row[3], time: row[4], words: row[5],
      usage: row[6], flags: row[7], model: row[8], link: row[9], title: row[10], note: row[11], states: row[12],
      results: row[13], children: [], tip: null,
    };
    this.byRow.set(entry.row, entry);
    this.ids?.set(entry.id, entry);
    this.entries.push(entry);
    (parent ? parent.children : this.roots).push(entry);
    this.tipsAreOld = true;
    return entry;
  }

  // The entry with an id. Few pages are asked, so the table is made when one is.
  withId(id) {
    this.ids ??= new Map(this.entries.map((entry) => [entry.id, entry]));
    return this.ids.get(id);
  }

  // What a mark has changed of an entry that is here.
  change([row, , , , , , , flags, , , , , states]) {
    const entry = this.byRow.get(row);
    if (entry) Object.assign(entry, { flags, states });
  }

  siblings(entry) {
    return entry.parent ? entry.parent.children : this.roots;
  }

  // The last entry at or below an entry.
  tip(entry) {
    if (this.tipsAreOld) {
      for (const each of this.entries) each.tip = each;
      for (let at = this.entries.length - 1; at >= 0; at--) {
        const { parent, tip } = this.entries[at];
        if (parent && parent.tip.row < tip.row) parent.tip = tip;
      }
      this.tipsAreOld = false;
    }
    return entry.tip;
  }

  path(entry) {
    const path = [];
    for (let each = entry; each; each = each.parent) path.push(each);
    return path.reverse();
  }

  // The lines of the map: chains without a fork, side branches before the branch that goes on in the same column.
  // `open` has a bit for each column that a line runs through. `labels` are texts by rows.
  map(path, labels) {
    const active = new Set(path);
    const runs = [];
    const runOf = new Map();
    for (const entry of this.entries) {
      const parent = entry.parent;
      const label = labels[entry.row];
      if (parent && parent.children.length === 1) {
        const run = runOf.get(parent);
        if (label !== undefined) run.labels.push(label);
        run.last = entry;
        run.size++;
        run.weight++;
        runOf.set(entry, run);
        if (!run.title && entry.kind === "user") run.title = entry;
        continue;
      }
      const run = { first: entry, last: entry, size: 1, weight: 1, children: [], parent: null, main: null, labels: label === undefined ? [] : [label] };
      run.title = entry.kind === "user" ? entry : null;
      run.parent = parent ? runOf.get(parent) : null;
      if (run.parent) run.parent.children.push(run);
      runOf.set(entry, run);
      runs.push(run);
    }
    for (let at = runs.length - 1; at >= 0; at--) if (runs[at].parent) runs[at].parent.weight += runs[at].weight;
    for (const run of runs) {
      run.isActive = active.has(run.first);
      if (run.parent === null) continue;
      const main = run.parent.main;
      if (!main || run.isActive || (!main.isActive && run.weight >= main.weight)) run.parent.main = run;
    }
    const lines = [];
    const stack = runs.filter((run) => !run.parent).reverse().map((run) => ({ run, depth: 0, open: 0 }));
    while (stack.length) {
      const { run, depth, open } = stack.pop();
      lines.push({ run, depth, open, goesOn: run.children.length > 0, isSide: run.parent !== null && run.parent.main !== run });
      if (run.main) stack.push({ run: run.main, depth, open });
      const below = open | (1 << Math.min(depth, 30));
      for (let at = run.children.length - 1; at >= 0; at--) {
        const child = run.children[at];
        if (child !== run.main) stack.push({ run: child, depth: depth + 1, open: below });
      }
    }
    return lines;
  }
}

// Sums of tokens and costs.
class Sum {
  constructor() {
    this.input = this.output = this.cached = this.cost = this.answers = 0;
  }

  add(entry) {
    if (!entry.usage) return this;
    const [input, output, read, written, cost] = entry.usage;
    this.input += input + read + written;
    this.cached += read;
    this.output += output;
    this.cost += cost;
    this.answers++;
    return this;
  }

  get text() {
    if (!this.input && !this.output && !this.cost) return "";
    const parts = [`${compact(this.input)} in`, `${compact(this.output)} out`];
    if (this.cost) parts.push(`cost ${money(this.cost)}`);
    return parts.join(" · ");
  }
}

const NUMBER = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const compact = (number) => NUMBER.format(number);
const money = (cost) => cost.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: cost < 0.1 ? 4 : 2 });
const counted = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

function duration(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}
