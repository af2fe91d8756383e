// Search over the text of all entries, some at a time, so that the page stays usable meanwhile.

const MOST = 1000; // hits that are listed
const INLINE = /<\/?(?:span|a|em|strong|code|b|s)\b[^>]*>/g;
const NAMED = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&#34;": '"', "&#39;": "'", "&quot;": '"' };

// The text of markup that was made when the page was written: in it, every `<` and `>` of a text is an entity.
function textOf(markup) {
  return markup
    .replace(INLINE, "")
    .replace(/<[^>]*>/g, " ")
    .replace(/&(?:amp|lt|gt|#34|#39|quot);/g, (name) => NAMED[name])
    .replace(/\s+/g, " ");
}

class Search {
  constructor(tree, blocks, found) {
    this.tree = tree;
    this.blocks = blocks;
    this.found = found;
    this.texts = [];
    this.run = 0;
  }

  words(query) {
    return query.toLowerCase().split(/\s+/).filter(Boolean);
  }

  async start(query) {
    const run = ++this.run;
    const words = this.words(query);
    const hits = [];
    let count = 0;
    if (words.length) {
      let rested = performance.now();
      for (let at = 0; at < this.tree.entries.length; at++) {
        const entry = this.tree.entries[at];
        const text = this.text(entry);
        const lower = text.toLowerCase();
        const label = (labels[entry.row] ?? "").toLowerCase();
        if (words.every((word) => lower.includes(word) || label.includes(word))) {
          count++;
          if (hits.length < MOST) hits.push({ entry, snippet: snippetOf(text, lower, words) });
        }
        if (performance.now() - rested > 12) {
          this.found(hits, count, false);
          await new Promise((resume) => setTimeout(resume));
          if (run !== this.run) return;
          rested = performance.now();
        }
      }
    }
    this.found(hits, count, true);
  }

  text(entry) {
    const [block, at] = this.blocks.place(entry.row);
    this.texts[block] ??= this.blocks.block(block).map(textOf);
    return (this.texts[block][at] ??= textOf(this.blocks.markup(entry.row)));
  }
}

function snippetOf(text, lower, words) {
  const first = Math.max(0, Math.min(...words.map((word) => lower.indexOf(word)).filter((at) => at >= 0), text.length));
  const from = Math.max(0, first - 30);
  return (from ? "…" : "") + text.slice(from, from + 140);
}

// Appends a text with the words in it marked.
function appendMarked(element, text, words) {
  const lower = text.toLowerCase();
  for (let at = 0; at < text.length; ) {
    let next = text.length, length = 0;
    for (const word of words) {
      const place = lower.indexOf(word, at);
      if (place >= 0 && place < next) [next, length] = [place, word.length];
    }
    element.append(text.slice(at, next));
    if (length) element.append(make("mark", "", text.slice(next, next + length)));
    at = next + (length || 1);
  }
}

// Marks the words in an element without changing it, and unfolds where they are. Returns the first place.
function highlightIn(element, words) {
  if (!window.Highlight || !words.length) return null;
  const ranges = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && ranges.length < 500; node = walker.nextNode()) {
    if (node.parentElement.closest("article > header")) continue;
    const lower = node.data.toLowerCase();
    for (const word of words) {
      for (let at = lower.indexOf(word); at >= 0 && ranges.length < 500; at = lower.indexOf(word, at + word.length)) {
        if (at + word.length > node.data.length) break;
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
  for (const range of ranges.slice(0, 1)) {
    for (let each = range.startContainer.parentElement.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
  }
  return ranges[0]?.startContainer.parentElement ?? null;
}
