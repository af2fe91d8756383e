// Elements, and lists of any length of which only the lines in view are in the page. No text becomes markup here.

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(className, text, label, action) {
  const element = make("button", className, text);
  element.type = "button";
  if (label) {
    element.title = label;
    element.setAttribute("aria-label", label);
  }
  element.addEventListener("click", action);
  return element;
}

class LongList {
  // `line(item)` makes the element of an item; all are `height` pixels high.
  constructor(box, height, line) {
    this.box = box;
    this.height = height;
    this.line = line;
    this.items = [];
    this.inner = make("div", "lines");
    box.append(this.inner);
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  set(items) {
    this.items = items;
    this.inner.style.height = `${items.length * this.height}px`;
    this.draw();
  }

  draw() {
    if (this.box.hidden) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - 10);
    const last = Math.min(this.items.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + 10);
    const lines = [];
    for (let at = first; at < last; at++) {
      const line = this.line(this.items[at]);
      line.style.transform = `translateY(${at * this.height}px)`;
      line.style.height = `${this.height}px`;
      lines.push(line);
    }
    const focused = this.inner.contains(document.activeElement);
    this.inner.replaceChildren(...lines);
    if (focused) this.box.focus({ preventScroll: true });
  }

  reveal(at) {
    if (at < 0 || this.box.hidden) return;
    const top = at * this.height;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop || top + this.height > scrollTop + clientHeight) this.box.scrollTop = Math.max(0, top - clientHeight / 3);
  }
}

// The markup of entries, as JSON in blocks. A block is parsed when one of its entries is needed.
const MOST_IN_BLOCK = 65536;

class Blocks {
  constructor() {
    this.blocks = [];
    this.places = new Map();
    this.parsed = new Map();
  }

  add(rows, markup) {
    const block = this.blocks.push(markup) - 1;
    for (let at = 0; at < rows.length; at++) this.places.set(rows[at][0], block * MOST_IN_BLOCK + at);
  }

  block(number) {
    const source = this.blocks[number];
    if (Array.isArray(source)) return source;
    let found = this.parsed.get(number);
    if (!found) {
      found = JSON.parse(source.textContent);
      if (this.parsed.size > 40) this.parsed.delete(this.parsed.keys().next().value);
      this.parsed.set(number, found);
    }
    return found;
  }

  // The block of an entry, and where it is in there.
  place(row) {
    const place = this.places.get(row);
    return [Math.floor(place / MOST_IN_BLOCK), place % MOST_IN_BLOCK];
  }

  markup(row) {
    const [block, at] = this.place(row);
    return this.block(block)[at];
  }
}
