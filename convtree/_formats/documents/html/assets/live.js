// A page that follows its session: entries that are appended come as events of the server that made the page.

function extend({ rows, markup, again, leaf, labels: now, gaps, certain, title }) {
  const end = view.path.at(-1) ?? null;
  const atEnd = (view.sections.at(-1)?.getBoundingClientRect().bottom ?? 0) < innerHeight + 100;
  blocks.add(rows, markup);
  const added = rows.map((row) => tree.add(row)).filter(Boolean);
  for (const row of again) tree.change(row);
  for (const key of Object.keys(labels)) delete labels[key];
  Object.assign(labels, now);
  Object.assign(facts, { leaf, gaps, certain });
  document.title = $("h1").textContent = title;
  view.gaps = gaps;
  if (!tree.entries.length) return;
  if (!end) main.replaceChildren();
  // The end of the branch in view goes on below itself; another branch is only offered.
  const isFollowed = !end || added.some((entry) => entry.parent === end);
  switchTo(isFollowed ? tree.tip(end ?? tree.entries.at(-1)) : end);
  const shown = view.items.at(-1)?.entry;
  if (isFollowed && added.length && atEnd && shown) view.elementOf(shown)?.scrollIntoView({ block: "nearest" });
  const other = added.findLast((entry) => !view.onPath.has(entry));
  if (other) offerBranch(other);
}

function offerBranch(entry) {
  const go = button("news", "New on another branch", "", () => {
    goTo(entry);
    go.remove();
  });
  $(".news")?.remove();
  $(".live").after(go);
}

let events = null;

function follow() {
  const last = tree.entries.at(-1);
  const query = new URLSearchParams(last ? { after: last.row, id: last.id } : { after: -1, id: "" });
  events = new EventSource(`${document.body.dataset.live}?${query}`);
  events.onopen = () => say("live", false);
  events.onmessage = (event) => {
    const news = JSON.parse(event.data);
    if (!news.reload) {
      extend(news);
      return;
    }
    events.close();
    location.reload();
  };
  events.onerror = () => {
    events.close();
    events = null;
    say("not connected", true);
    setTimeout(() => document.hidden || events || follow(), 1000);
  };
}

function say(text, isOff) {
  $(".live").textContent = text;
  $(".live").classList.toggle("off", isOff);
}

if (document.body.dataset.live) {
  follow();
  // A browser opens few connections to one server, so a hidden tab closes its own.
  document.addEventListener("visibilitychange", () => {
    events?.close();
    events = null;
    if (!document.hidden) follow();
  });
}
