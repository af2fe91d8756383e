// The list of sessions: filters, and a search over the words of all of them.

const $ = (selector) => document.querySelector(selector);
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const sessions = [];
let vocabulary = [];
for (const element of document.querySelectorAll('script[type="application/json"]')) {
  const value = JSON.parse(element.textContent);
  if (element.className === "words") vocabulary = value;
  else for (const [address, title, directory, models, time, messages, usage, archived, isTask, words] of value) {
    const ms = Date.parse(time);
    sessions.push({ address, title, directory, models, ms, messages, usage, archived, isTask, words });
  }
  element.remove();
}

const filters = Object.fromEntries([...document.querySelectorAll("[data-filter]")].map((each) => [each.dataset.filter, each]));

function offer(select, values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  for (const [value, count] of [...counts].sort((a, b) => b[1] - a[1])) {
    const option = make("option", "", `${value || "(none)"} (${count})`);
    option.value = value || "\0";
    select.append(option);
  }
}
offer(filters.directory, sessions.map((each) => each.directory));
offer(filters.model, sessions.flatMap((each) => each.models));

let found = null; // addresses that a live search has found
let searched = ""; // how far it is

// The beginning and the end of a time by its name, in local time. A week begins on Monday. An end is not part of it.
function rangeOf(name) {
  const now = new Date();
  const day = (year, month, date) => new Date(year, month, date).getTime();
  const [y, m, d] = [now.getFullYear(), now.getMonth(), now.getDate()];
  const monday = d - ((now.getDay() + 6) % 7);
  switch (name) {
    case "today": return [day(y, m, d), day(y, m, d + 1)];
    case "yesterday": return [day(y, m, d - 1), day(y, m, d)];
    case "this week": return [day(y, m, monday), day(y, m, monday + 7)];
    case "last week": return [day(y, m, monday - 7), day(y, m, monday)];
    case "this month": return [day(y, m, 1), day(y, m + 1, 1)];
    case "last month": return [day(y, m - 1, 1), day(y, m, 1)];
    case "this year": return [day(y, 0, 1), day(y + 1, 0, 1)];
    case "last year": return [day(y - 1, 0, 1), day(y, 0, 1)];
    case "between": {
      const [from, to] = [filters.from, filters.to].map(({ value }) => value && value.split("-").map(Number));
      return [from ? day(from[0], from[1] - 1, from[2]) : -Infinity, to ? day(to[0], to[1] - 1, to[2] + 1) : Infinity];
    }
    default: return null;
  }
}

const list = new LongList($(".list"), 60, (each) => {
  const line = make("a", "line");
  const query = $(".query").value.trim();
  line.href = each.address + (query ? `#search=${encodeURIComponent(query)}` : "");
  const title = make("bdi", "words", each.title);
  title.dir = "auto";
  const facts = make("span", "facts");
  const add = (text) => text && facts.append(make("span", "", text));
  add(Number.isNaN(each.ms) ? "" : DATE.format(each.ms));
  add(counted(each.messages, "message"));
  add(each.models[0]);
  const [input, output, cost] = each.usage;
  if (input || output) add(`${compact(input + output)} tokens`);
  if (cost) add(`cost ${money(cost)}`);
  if (each.archived) add("archived");
  if (each.isTask) add("sub-agent");
  const directory = make("bdi", "", each.directory);
  facts.append(directory);
  line.append(title, facts);
  return line;
});

// For each word of the query, the numbers of the words that it is a part of.
function wanted(query) {
  return query.toLowerCase().split(/[^\p{L}\p{N}\p{M}_]+/u).filter(Boolean).map((part) => {
    const numbers = new Set();
    vocabulary.forEach((word, number) => { if (word.includes(part)) numbers.add(number); });
    return numbers;
  });
}

function isShown(each, parts, range) {
  const { directory, model, kind } = filters;
  if (directory.value && (each.directory || "\0") !== directory.value) return false;
  if (model.value && !each.models.includes(model.value)) return false;
  if (range && !(each.ms >= range[0] && each.ms < range[1])) return false;
  if (each.archived && !kind.value) return false;
  if (each.isTask && kind.value !== "all") return false;
  if (found) return found.has(each.address);
  return parts.every((part) => each.words.some((number) => part.has(number)));
}

function update() {
  const parts = found ? [] : wanted($(".query").value);
  for (const each of [filters.from, filters.to]) each.parentElement.hidden = filters.time.value !== "between";
  const range = rangeOf(filters.time.value);
  const shown = sessions.filter((each) => isShown(each, parts, range));
  list.set(shown);
  const tokens = shown.reduce((sum, { usage }) => sum + usage[0] + usage[1], 0);
  const cost = shown.reduce((sum, { usage }) => sum + usage[2], 0);
  const text = [counted(shown.length, "session"), tokens ? `${compact(tokens)} tokens` : "", cost ? `cost ${money(cost)}` : "", searched];
  $(".about").textContent = text.filter(Boolean).join(" · ");
}

// Looks for the words in the query. The server of a live page answers with some sessions at a time, until it has no more.
let looks = 0;
async function look() {
  const query = $(".query").value.trim();
  const run = ++looks;
  const results = new Set();
  let cursor = null;
  if (document.body.dataset.live && query) {
    do {
      const answer = await fetch(`search?${new URLSearchParams(cursor === null ? { q: query } : { q: query, cursor })}`).catch(() => null);
      if (run !== looks) return;
      if (!answer?.ok) {
        searched = "the search has failed";
        break;
      }
      const some = await answer.json();
      if (run !== looks) return;
      for (const each of some.found) results.add(each);
      cursor = some.cursor;
      searched = cursor === null ? "" : "searching…";
      found = results;
      update();
    } while (cursor !== null);
  } else {
    found = null;
    searched = "";
  }
  list.box.scrollTop = 0;
  update();
}

let typing = 0;
$(".query").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(look, 120);
});
for (const each of Object.values(filters)) each.addEventListener("change", update);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, select")) return;
  event.preventDefault();
  $(".query").focus();
});
update();
document.documentElement.dataset.ready = "true";
