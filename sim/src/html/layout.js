// What is drawn is a function of `run`, of what is shown, of the zoom and of the scroll.

const TOPICS = ["calls", "links", "chunks", "disk", "faults", "heartbeats"];
const FAULT = 4, BEAT = 5;
const STATES = ["absent", "asked for", "here", "durable", "a claim"];
const AXIS = 78, HEAD = 34, LABELS = 216, BOTTOM = 190;
const $ = (id) => document.getElementById(id);

// ---- The run, as the page wants it -------------------------------------------------------------

const isBeat = (title) => /\b(ping|pong)$/.test(title);
const turns = run.turns.map((raw, n) => {
  const [at, peer, topic, title, text, then, until = -1, a = -1, b = -1] = raw;
  const acts = then.map(([topic, title, text]) => ({ topic, title, text: text || title }));
  const beat = (isBeat(title) || title === "time passes") && acts.every((act) => isBeat(act.title))
    && (isBeat(title) || acts.length > 0);
  const topics = new Set([title === "time passes" ? -1 : topic, ...acts.map((act) => act.topic)]);
  topics.delete(-1);
  const kind = beat ? BEAT : title === "time passes" && acts.length ? acts[0].topic : topic;
  if (beat) { topics.clear(); topics.add(BEAT); }
  return { n, at, peer, kind, topics, title, text: text || title, acts, until, a, b, out: [], into: [], y: 0 };
});
const arrows = run.arrows.map((raw, n) => {
  const [from, to, sent, ended, heard, link, lane, bytes, label] = raw;
  const kind = isBeat(label) ? BEAT : lane < 0 ? 1 : 2;
  return { n, from, to, sent, ended, heard: heard === 1, link, lane, bytes, label, kind, tail: null, head: null };
});
{
  // An arrow begins in the turn that sent it, and ends in the turn that heard it.
  const at = new Map();
  for (const turn of turns) {
    const key = turn.peer + ":" + turn.at;
    if (!at.has(key)) at.set(key, []);
    at.get(key).push(turn);
  }
  const speaks = (turn, arrow) => turn.acts.some((act) => arrow.kind === 2
    ? /^(asks for chunk|answers)/.test(act.title) : /^(says|closes)/.test(act.title));
  const hears = (turn, arrow) => arrow.lane >= 0
    ? /^(asked for|got|told)/.test(turn.title) : /^hears|is down/.test(turn.title);
  for (const arrow of arrows) {
    const tails = at.get(arrow.from + ":" + arrow.sent) || [];
    arrow.tail = tails.find((turn) => speaks(turn, arrow)) || tails[0] || null;
    if (arrow.tail) arrow.tail.out.push(arrow);
    if (!arrow.heard) continue;
    const heads = at.get(arrow.to + ":" + arrow.ended) || [];
    arrow.head = heads.find((turn) => hears(turn, arrow) && turn.into.length === 0) || heads[0] || null;
    if (arrow.head) arrow.head.into.push(arrow);
  }
}
const end = Math.max(run.end, 1);
{
  // A message is lost when its link is cut, or when one of its two processes ends.
  const cuts = new Map();
  for (const turn of turns) {
    const link = /^link (\d+) is cut$/.exec(turn.title);
    if (link) cuts.set(Number(link[1]), turn.at);
  }
  for (const arrow of arrows) {
    if (arrow.heard) continue;
    const due = arrow.ended < 0 ? end : arrow.ended;
    const ends = run.lives.filter(([peer, , , to]) => (peer === arrow.from || peer === arrow.to) && to >= arrow.sent);
    const cut = cuts.get(arrow.link) ?? due;
    arrow.lostAt = Math.max(arrow.sent, Math.min(due, cut, ...ends.map((life) => life[3])));
  }
}
for (const map of run.maps) {
  // Each chunk's states as pieces of time.
  map.pieces = [];
  const open = new Array(map.chunks).fill(null);
  for (const [at, chunk, state] of map.steps) {
    const last = open[chunk];
    if (last) { last.to = at; if (last.state !== 0 && last.to > last.from) map.pieces.push(last); }
    open[chunk] = { chunk, state, from: at, to: end };
  }
  for (const last of open) if (last && last.state !== 0) map.pieces.push(last);
  map.weight = map.steps.length;
}
const maps = run.maps.filter((map) => map.chunks > 0).sort((a, b) => b.weight - a.weight);
const drawnMaps = maps.slice(0, 4);

const seconds = (us) => (us / 1e6).toFixed(us < 1e8 ? 4 : 3);
const brief = (us) => us >= 1e6 ? (us / 1e6).toFixed(us >= 1e7 ? 0 : 1) + " s"
  : us >= 1000 ? (us / 1000).toFixed(us >= 1e4 ? 0 : 1) + " ms" : us + " µs";
const size = (bytes) => bytes >= 1 << 20 ? (bytes / (1 << 20)).toFixed(1) + " MiB"
  : bytes >= 1024 ? (bytes / 1024).toFixed(bytes % 1024 ? 1 : 0) + " KiB" : bytes + " B";

// ---- What is shown -----------------------------------------------------------------------------

const shown = [true, true, true, turns.length < 400, true, false];
let row = turns.length > 1000 ? 15 : 17;
let picked = null, hovered = null, needle = "", rows = [], T = [], Y = [], total = 0;
let folded = true;
const alike = (title) => title.replace(/\d+/g, "0");
function pattern(turn) {
  if (turn.shape === undefined) turn.shape = alike(turn.title) + "|" + turn.acts.map((act) => alike(act.title)).join();
  return turn.shape;
}
const visible = (turn) => [...turn.topics].some((topic) => shown[topic]);

// Time to height: quiet time is short, crowded time is long, and never runs backwards.
function layout() {
  rows = [];
  for (const turn of turns) {
    turn.crowd = null;
    if (!visible(turn)) continue;
    // What follows at once, to the same peer and in the same words, is one row.
    const last = rows[rows.length - 1];
    if (folded && last && last.peer === turn.peer && turn.kind !== FAULT && turn.at - last.crowdEnd < 2e5
      && pattern(last) === pattern(turn)) {
      last.crowd = last.crowd || [last];
      last.crowd.push(turn);
      last.crowdEnd = turn.at;
      turn.head = last;
    } else {
      turn.head = turn;
      turn.crowdEnd = turn.at;
      rows.push(turn);
    }
  }
  const free = new Map();
  T = [0]; Y = [HEAD + 16];
  let y = HEAD + 16, before = 0;
  for (const turn of rows) {
    const quiet = turn.at - before;
    if (quiet > 0) y += row * 0.5 * Math.log10(1 + quiet / 100);
    const column = turn.peer;
    y = Math.max(y, (free.get(column) ?? 0) + (turn.kind === FAULT ? row * 1.15 : row));
    if (column < 0) for (let p = 0; p < run.peers.length; p++) free.set(p, y);
    free.set(column, y);
    turn.y = y;
    T.push(turn.at); Y.push(y);
    if (turn.crowdEnd > turn.at) { T.push(turn.crowdEnd); Y.push(y); }
    before = turn.crowdEnd;
  }
  if (end > before) y += Math.max(row, row * 0.42 * Math.log10(1 + (end - before) / 100));
  T.push(end); Y.push(y);
  for (const turn of turns) if (!visible(turn)) turn.y = height(turn.at); else turn.y = turn.head.y;
  total = y + BOTTOM;
  $("tall").style.height = total + "px";
  $("end").style.top = (y + 28) + "px";
}

function height(t) {
  let low = 0, high = T.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (T[middle] <= t) low = middle; else high = middle - 1;
  }
  if (low === T.length - 1) return Y[low];
  const part = T[low + 1] > T[low] ? (t - T[low]) / (T[low + 1] - T[low]) : 0;
  return Y[low] + part * (Y[low + 1] - Y[low]);
}

function timeAt(y) {
  let low = 0, high = Y.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (Y[middle] <= y) low = middle; else high = middle - 1;
  }
  if (low === Y.length - 1) return T[low];
  const part = Y[low + 1] > Y[low] ? (y - Y[low]) / (Y[low + 1] - Y[low]) : 0;
  return T[low] + part * (T[low + 1] - T[low]);
}
