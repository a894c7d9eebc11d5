"use strict";
// Asks debug/state every second, while somebody looks. Text from the cluster and from plugins
// is only ever set as text. What is on the page already is changed in place, so that what was
// opened stays open, and nothing moves that did not change.

const EVERY = 1000, PATIENCE = 5000, LOST_AFTER = 3000;
const by = id => document.getElementById(id);

const make = (tag, css, text) => {
  const node = document.createElement(tag);
  if (css) node.className = css;
  if (text !== undefined) node.textContent = text;
  return node;
};
const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const look = (node, css) => { if (node.className !== css) node.className = css; };
const show = (node, is) => { if (node.hidden === is) node.hidden = !is; };

// One child for each item: those with a known key are updated, new ones made, others removed.
function list(parent, items, key, create, none) {
  const known = parent.known ??= new Map();
  const seen = new Set();
  let place = 0;
  for (const [i, item] of items.entries()) {
    const name = key(item, i);
    if (seen.has(name)) continue;
    seen.add(name);
    let entry = known.get(name);
    if (!entry) known.set(name, entry = create());
    entry.update(item);
    if (parent.children[place] !== entry.node) parent.insertBefore(entry.node, parent.children[place] ?? null);
    place += 1;
  }
  for (const [name, entry] of known) if (!seen.has(name)) { entry.node.remove(); known.delete(name); }
  const empty = parent.empty ??= make("li", "none small", none);
  if (none && !seen.size) parent.append(empty); else empty.remove();
}

const facts = (parent, rows) => {
  rows = rows.filter(row => row[1] !== "" && row[1] !== undefined && row[1] !== null);
  const known = parent.known ??= [];
  while (known.length > rows.length) for (const node of known.pop()) node.remove();
  rows.forEach(([name, value], i) => {
    if (!known[i]) { known[i] = [make("dt"), make("dd", "num")]; parent.append(...known[i]); }
    put(known[i][0], name);
    put(known[i][1], value);
  });
};

// Words and numbers.
const number = n => n.toLocaleString("en");
const count = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;
const span = s => s < 1 ? "less than 1 s" : s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min`
  : s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
const ago = s => s < 1 ? "just now" : `${span(s)} ago`;
const took = s => s < 0.001 ? `${Math.round(s * 1e6)} µs` : s < 1 ? `${(s * 1000).toFixed(1)} ms` : `${s.toFixed(2)} s`;
const size = b => b < 1024 ? `${b} B` : b < 1048576 ? `${(b / 1024).toFixed(1)} KiB`
  : b < 1073741824 ? `${(b / 1048576).toFixed(1)} MiB` : `${(b / 1073741824).toFixed(2)} GiB`;
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);
const sum = (items, f) => items.reduce((total, item) => total + f(item), 0);
const changes = c => [[c.created, "new"], [c.modified, "changed"], [c.deleted, "gone"]]
  .filter(([n]) => n).map(([n, what]) => `${number(n)} ${what}`).join(", ");

// Each state: the word, its colour, and what it means for somebody who has never seen it.
const WATCH = {
  "discovering": ["Asking", "", ""],
  "waiting-for-crd": ["Waiting for the CRD", "warn",
    "The cluster does not know this kind of object yet. The watch starts by itself as soon as it does: install its CustomResourceDefinition, or check the name and the version."],
  "forbidden": ["Forbidden", "bad",
    "The account that this host uses lacks a right in the cluster (RBAC). It is tried again by itself, and works as soon as the right is granted."],
  "listing": ["Loading", "", ""],
  "synced": ["Synced", "good", ""],
  "stale": ["Stale", "warn",
    "The cluster cannot be reached right now, or is slow. What was known last is kept and used; what changed since is not known yet."],
  "failing": ["Failing", "bad", "No complete list has come yet. It is tried again by itself, with growing pauses."],
};
const PLUGIN = {
  "running": ["Running", "good"], "waiting": ["Waiting", ""], "standby": ["Standby", ""],
  "failing": ["Failing", "bad"], "given-up": ["Given up", "bad"],
};
const RESULT = {
  "ok": "", "error": "error", "timeout": "too slow", "limit": "over a limit", "trap": "crashed", "grant": "a grant is gone",
  "commit-failed": "could not write", "not-leading": "did not lead any more", "host": "fault of the host",
};
const word = (table, state) => table[state] ?? [state, "", ""];

function watchCard() {
  const node = make("li");
  const [top, text, hint, unreadable, scopes] = [make("div", "top"), make("p", "small text"), make("p", "small hint"), make("ul", "sub small"), make("ul", "sub small")];
  const [name, mark, resource, objects] = [make("h3"), make("span"), make("span", "quiet mono"), make("span", "right num")];
  const more = make("details", "small"), rows = make("dl", "facts");
  more.append(make("summary", "", "Details"), rows);
  top.append(name, mark, resource, objects);
  node.append(top, text, hint, unreadable, scopes, more);
  return { node, update(w) {
    const [label, css, meaning] = word(WATCH, w.state);
    put(name, w.name);
    put(mark, label); look(mark, `mark ${css}`);
    put(resource, w.resource);
    const counted = count(w.objects, "object");
    if (objects.textContent && objects.textContent !== counted) {
      objects.classList.remove("bump");
      requestAnimationFrame(() => objects.classList.add("bump"));
    }
    put(objects, counted);
    const detail = w.state === "synced" ? "Up to date" : capital(w.detail);
    put(text, `${detail} · for ${span(w.since_seconds)}${w.required ? "" : " · optional: nothing waits for it"}`);
    put(hint, meaning); show(hint, meaning !== "");
    list(unreadable, w.unreadable, u => `${u.namespace}/${u.name}`, () => {
      const item = make("li"), who = make("strong"), why = make("span");
      item.append(who, why);
      return { node: item, update(u) {
        put(who, `${u.namespace ? u.namespace + "/" : ""}${u.name} cannot be read and is left out`);
        put(why, u.error);
      } };
    });
    show(unreadable, w.unreadable.length > 0);
    const several = w.scopes.length > 1 ? w.scopes : [];
    list(scopes, several, s => s.namespace, () => {
      const item = make("li"), [where, state, what, held] = [make("strong"), make("span"), make("span", "quiet"), make("span", "right num")];
      item.append(where, state, what, held);
      return { node: item, update(s) {
        const [label, css] = word(WATCH, s.state);
        put(where, s.namespace); put(state, label); look(state, `mark ${css}`);
        put(what, s.state === "synced" ? "" : capital(s.detail)); put(held, count(s.objects, "object"));
      } };
    });
    show(scopes, several.length > 0);
    const traffic = w.scopes.map(s => s.traffic).filter(Boolean);
    const requests = traffic.flatMap(t => t.requests);
    const bad = sum(requests.filter(r => r.code !== "200"), r => r.count);
    facts(rows, [
      ["Read by", w.plugins.join(", ")],
      ["Where", w.scopes.length === 1 ? (w.scopes[0].namespace ? `namespace ${w.scopes[0].namespace}` : "the whole cluster") : count(w.scopes.length, "namespace")],
      ["Only the object", w.object],
      ["Shard", w.shard ? `${w.shard}: objects of the others are dropped` : ""],
      ["Labels", w.label_selector],
      ["Fields", w.field_selector],
      ["Held", w.storage === "cached" ? "names and versions; the rest is fetched when it is read" : `${size(w.stored_bytes)} in memory, after filtering`],
      ["Without a key", w.unkeyed ? `${count(w.unkeyed, "object")} that the index does not find` : ""],
      ["Could not be read", w.quarantined ? count(w.quarantined, "time") : ""],
      ["Requests", traffic.length ? `${number(sum(requests, r => r.count))}${bad ? `, ${number(bad)} not answered with 200 (${requests.filter(r => r.code !== "200").map(r => `${r.kind} ${r.code}: ${number(r.count)}`).join(", ")})` : ""}` : "shared with another watch"],
      ["Received", traffic.length ? `${size(sum(traffic, t => t.received_bytes))}: ${number(sum(traffic, t => t.listed))} listed in ${count(sum(traffic, t => t.lists_completed), "list")}, then ${number(sum(traffic, t => t.applied))} changed and ${number(sum(traffic, t => t.deleted))} deleted` : ""],
      ["Of other shards", sum(traffic, t => t.foreign) ? `${number(sum(traffic, t => t.foreign))}, dropped as they came` : ""],
    ]);
  } };
}

function pluginCard() {
  const node = make("li");
  const [top, text, now, head, error, calls] = [make("div", "top"), make("p", "small text"), make("p", "small text"), make("p", "small error-head"), make("pre", "error mono"), make("ul", "sub calls small num")];
  const [name, mark, right] = [make("h3"), make("span"), make("span", "right num")];
  const [version, refusal] = [make("p", "small text"), make("pre", "error mono")];
  const past = make("details", "small"), pastHead = make("summary"), pastError = make("pre", "mono");
  const more = make("details", "small"), rows = make("dl", "facts");
  past.append(pastHead, pastError);
  more.append(make("summary", "", "Details"), rows);
  error.tabIndex = refusal.tabIndex = 0;
  top.append(name, mark, right);
  node.append(top, text, now, version, refusal, head, error, calls, past, more);
  return { node, update(p) {
    const [label, css] = word(PLUGIN, p.state);
    const total = sum(p.callbacks, c => c.count), ok = sum(p.callbacks.filter(c => c.result === "ok"), c => c.count);
    put(name, p.name);
    put(mark, label); look(mark, `mark ${css}`);
    put(right, count(total, "callback"));
    put(text, p.state === "running" ? "Called when something changes" : capital(p.detail));
    const long = p.running && p.running.seconds >= 1;
    put(now, long ? `Runs ${p.running.callback} for ${p.running.watch} since ${span(p.running.seconds)}` : ""); show(now, Boolean(long));
    const { candidate, refusal: refused, taken } = p.reload ?? {};
    put(version, candidate ? `A new version is on its way: it ${candidate}` : refused
      ? `The new version is refused, and the old one goes on (${ago(refused.ago_seconds)}):` : "");
    show(version, version.textContent !== "");
    put(refusal, refused && !candidate ? refused.text : ""); show(refusal, refusal.textContent !== "");
    const trouble = p.failures > 0 && p.last_error;
    put(head, trouble ? `The last error, ${ago(p.last_error.ago_seconds)}` : ""); show(head, Boolean(trouble));
    put(error, trouble ? p.last_error.text : ""); show(error, Boolean(trouble));
    const over = p.last_error && !trouble;
    put(pastHead, over ? `An error, ${ago(p.last_error.ago_seconds)}; it went well since` : "");
    put(pastError, over ? p.last_error.text : ""); show(past, Boolean(over));
    list(calls, p.recent, (c, i) => i, () => {
      const item = make("li"), [when, what, told, time, why] = [make("span", "when quiet"), make("span"), make("span", "changes"), make("span", "right"), make("span", "why")];
      item.append(when, what, told, time, why);
      return { node: item, update(c) {
        put(when, ago(c.ago_seconds));
        put(what, `${c.callback} ${c.watch}`);
        put(told, c.callback === "on-sync-complete" ? count(c.objects, "object") : changes(c));
        put(time, took(c.duration_seconds));
        put(why, c.error ? `${RESULT[c.result] ?? c.result}: ${c.error}` : RESULT[c.result] ?? c.result); show(why, c.result !== "ok");
      } };
    }, "Not called yet.");
    facts(rows, [
      ["Callbacks", p.callbacks.map(c => `${c.callback} ${c.result}: ${number(c.count)}`).join(", ")],
      ["Failed", total > ok ? number(total - ok) : ""],
      ["Changes told", p.changes.map(c => `${c.watch} ${changes(c)}`).join(", ")],
      ["Memory", size(p.memory_bytes)],
      ["Restarts", p.restarts ? number(p.restarts) : ""],
      ["New versions taken", taken ? number(taken) : ""],
    ]);
  } };
}

// The command that runs after a commit that changed something.
function hookWords(h) {
  if (h.failures) return `the command failed ${count(h.failures, "time")} in a row, and is tried again`;
  const last = h.ago_seconds === null ? "" : `, the last time ${ago(h.ago_seconds)}`;
  return { due: "the command is due", running: "the command runs" }[h.state] ?? `the command has run ${count(h.succeeded, "time")}${last}`;
}

function outputCard() {
  const node = make("li");
  const [top, text, files] = [make("div", "top"), make("p", "small text"), make("ul", "sub files small num")];
  const [name, where, right] = [make("h3"), make("span", "quiet mono"), make("span", "right num")];
  const more = make("details", "small"), moreHead = make("summary"), rest = make("ul", "sub files num");
  more.append(moreHead, rest);
  const [hook, hookError] = [make("p", "small text"), make("pre", "error mono")];
  hookError.tabIndex = 0;
  top.append(name, where, right);
  node.append(top, text, hook, hookError, files, more);
  const file = () => {
    const item = make("li"), [called, bytes, when] = [make("span", "mono"), make("span", "right"), make("span", "when quiet")];
    item.append(called, bytes, when);
    return { node: item, update(f) { put(called, f.name); put(bytes, size(f.bytes)); put(when, ago(f.ago_seconds)); } };
  };
  return { node, update(p) {
    const o = p.outputs;
    put(name, p.name);
    put(where, o.sink === "-" ? "standard output" : o.sink);
    put(right, count(o.files.length, "file") + (o.files.length >= 200 ? " or more" : ""));
    const last = o.last_commit ? `Last commit ${ago(o.last_commit.ago_seconds)}` : "Nothing committed yet";
    const changed = !o.last_change ? "" : o.last_commit.changed ? `, ${count(o.last_commit.changed, "output")} changed`
      : `, nothing new; the last change was ${ago(o.last_change.ago_seconds)}`;
    put(text, `${last}${changed}${o.failed ? ` · ${count(o.failed, "commit")} failed` : ""}`);
    const h = p.hook, wrong = h && h.failures > 0;
    put(hook, h ? `After a commit: ${hookWords(h)}` : ""); show(hook, Boolean(h)); look(hook, `small ${wrong ? "error-head" : "text"}`);
    put(hookError, wrong && h.last_error ? h.last_error.text : ""); show(hookError, hookError.textContent !== "");
    list(files, o.files.slice(0, 5), f => f.name, file);
    show(files, o.files.length > 0);
    put(moreHead, `${count(Math.max(0, o.files.length - 5), "more file")}`);
    list(rest, o.files.slice(5), f => f.name, file);
    show(more, o.files.length > 5);
  } };
}

const joined = parts => parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

function summary(state) {
  const trouble = [];
  for (const w of state.watches) {
    const css = word(WATCH, w.state)[1];
    // A kind that may be missing is none.
    const fine = !w.required && w.state === "waiting-for-crd";
    if ((css === "warn" || css === "bad") && !fine) trouble.push(`Watch ${w.name}: ${w.detail}`);
    if (w.unreadable.length) trouble.push(`Watch ${w.name}: ${count(w.unreadable.length, "object")} cannot be read`);
  }
  for (const p of state.plugins) {
    if (word(PLUGIN, p.state)[1] === "bad") trouble.push(`Plugin ${p.name}: ${p.detail}`);
    if (p.reload?.refusal) trouble.push(`Plugin ${p.name}: its new version is refused`);
    if (p.hook?.failures) trouble.push(`Outputs of ${p.name}: ${hookWords(p.hook)}`);
  }
  const loading = state.watches.filter(w => w.state === "listing" || w.state === "discovering").length;
  const parts = [
    `${count(state.watches.filter(w => w.state === "synced").length, "watch", "watches")} up to date`,
    `${count(state.plugins.filter(p => p.state === "running").length, "plugin")} running`,
  ];
  const standby = state.plugins.filter(p => p.state === "standby").length;
  if (standby) parts[1] = `${count(standby, "plugin")} ready to take over`;
  const text = trouble.length ? `${count(trouble.length, "thing needs", "things need")} attention.`
    : loading ? `Starting: ${count(loading, "watch", "watches")} still loading.`
    : state.ready ? `Everything is in order: ${joined(parts)}.` : "Not everything is there yet.";
  put(by("summary"), text);
  list(by("trouble"), trouble, t => t, () => { const node = make("li"); return { node, update: t => put(node, t) }; });
  show(by("trouble"), trouble.length > 0);
}

let version;
function render(state) {
  if (version !== undefined && version !== state.version) location.reload();
  version = state.version;
  const mark = by("ready");
  put(mark, state.ready ? "Ready" : "Not ready");
  look(mark, `mark ${state.ready ? "good" : "bad"}`);
  document.title = `${state.ready ? "✓" : "✗"} haptic-host`;
  const shard = state.shard ? ` · shard ${state.shard.index}/${state.shard.count}, by ${state.shard.by}` : "";
  const leader = !state.leader ? "" : state.leader.leads ? " · leads" : state.leader.holder ? ` · follows ${state.leader.holder}` : " · nobody leads";
  put(by("about"), `${state.version} · cluster ${state.cluster} · up ${span(state.uptime_seconds)}${shard}${leader}`);
  summary(state);
  list(by("watches"), state.watches, w => w.name, watchCard, "No watches.");
  list(by("plugins"), state.plugins, p => p.name, pluginCard, "No plugins.");
  list(by("outputs"), state.plugins, p => p.name, outputCard, "No outputs.");
  const { process, cache } = state, reads = cache.hits + cache.misses + cache.coalesced;
  facts(by("process"), [
    ["Memory", process.resident_bytes === null ? "" : size(process.resident_bytes)],
    ["Processor time", `${process.cpu_seconds.toFixed(1)} s`],
    ["Open files", process.open_fds === null ? "" : `${number(process.open_fds)}${process.max_fds === null ? "" : ` of ${number(process.max_fds)}`}`],
    ["Cached objects", reads || cache.held ? `${number(cache.held)} held (${size(cache.held_bytes)}); ${number(reads)} read, ${number(cache.hits)} of them without a request, ${number(cache.errors)} in vain` : ""],
    ["This process", state.leader ? state.leader.identity : ""],
  ]);
}

// The last answer that came.
let heard = 0, lost = false;
function freshness() {
  const age = Date.now() - heard;
  if (heard && !lost) put(by("fresh"), age < 2 * EVERY ? "live" : `${span(age / 1000)} old`);
  if (lost) {
    put(by("fresh"), heard ? `no contact for ${span(age / 1000)}` : "no contact");
    // Read aloud: it must not change every second.
    put(by("lost"), heard ? `The host does not answer. What you see is from ${new Date(heard).toLocaleTimeString()}; it is asked again every second.`
      : "The host does not answer. It is asked again every second.");
  }
  if (lost && heard) {
    put(by("ready"), "No contact");
    look(by("ready"), "mark");
  }
  show(by("lost"), lost);
  by("all").classList.toggle("old", lost && heard > 0);
}

async function ask() {
  const response = await fetch("debug/state", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!response.ok) throw new Error(`answered ${response.status}`);
  return response.json();
}

let asking = false, timer;
async function refresh() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const began = Date.now();
  const state = await ask().catch(() => null);
  if (state) { heard = Date.now(); lost = false; render(state); } else lost = !heard || Date.now() - heard > LOST_AFTER;
  freshness();
  asking = false;
  if (!document.hidden) timer = setTimeout(refresh, Math.max(0, EVERY - (Date.now() - began)));
}
// Also while an answer is waited for.
setInterval(freshness, EVERY);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
