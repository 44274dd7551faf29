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

// ---- Drawing -----------------------------------------------------------------------------------

let ink = {};
function readInk() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "card", "ink", "soft", "faint", "line", "pick", "band", "good", "bad"]) {
    ink[name] = style.getPropertyValue("--" + name).trim();
  }
  ink.topic = TOPICS.map((_, n) => style.getPropertyValue("--t" + n).trim());
  ink.lane = [0, 1, 2, 3].map((n) => style.getPropertyValue("--lane" + n).trim());
  ink.chunk = STATES.map((_, n) => style.getPropertyValue("--c" + n).trim());
}

const view = $("view"), scroll = $("scroll");
let W = 0, H = 0, xs = [], strips = [], stripsFrom = 0;
function measure() {
  W = scroll.clientWidth; H = scroll.clientHeight;
  fit(view, W, H);
  strips = [];
  let x = W - 18;
  // What the messages can spare.
  let room = W - 2 * LABELS - AXIS - 190 - 60 * run.peers.length;
  const fits = drawnMaps.filter((map) => {
    const wide = Math.min(110, Math.max(36, map.chunks * 2)) + 14;
    if (wide > room) return false;
    room -= wide;
    return true;
  });
  for (const map of fits.reverse()) {
    const wide = Math.min(110, Math.max(36, map.chunks * 2));
    x -= wide;
    strips.unshift({ map, x, wide });
    x -= 14;
  }
  stripsFrom = x;
  const first = AXIS + LABELS, last = Math.max(first + 120, x - LABELS), count = run.peers.length;
  xs = run.peers.map((_, n) => count < 2 ? first : first + (last - first) * n / (count - 1));
}

function fit(canvas, wide, tall) {
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * dpr); canvas.height = Math.round(tall * dpr);
  canvas.style.width = wide + "px"; canvas.style.height = tall + "px";
  const pen = canvas.getContext("2d");
  pen.setTransform(dpr, 0, 0, dpr, 0, 0);
  return pen;
}

const FONT = 'ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", sans-serif';
const widths = new Map();
function cut(pen, text, room) {
  const key = pen.font + text;
  let wide = widths.get(key);
  if (wide === undefined) { wide = pen.measureText(text).width; widths.set(key, wide); }
  if (wide <= room) return text;
  const keep = Math.max(1, Math.floor(text.length * room / wide) - 1);
  return text.slice(0, keep) + "…";
}

let queued = false;
function draw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; paint(); paintMini(); });
}

function paint() {
  const pen = view.getContext("2d"), top = scroll.scrollTop, bottom = top + H;
  const at = (y) => y - top;
  pen.clearRect(0, 0, W, H);
  pen.textBaseline = "middle";

  // The row that is picked.
  if (picked && picked.turn) {
    pen.fillStyle = ink.pick;
    pen.fillRect(0, at(picked.turn.y) - Math.max(9, row / 2), W, Math.max(18, row));
  }
  axis(pen, top, bottom, at);
  troubles(pen, top, bottom, at);
  lives(pen, top, bottom, at);
  chunkStrips(pen, top, bottom, at);
  for (const arrow of arrows) {
    if (shown[arrow.kind]) drawArrow(pen, arrow, top, bottom, at);
  }
  marks(pen, top, bottom, at);
  heads(pen);
}

function axis(pen, top, bottom, at) {
  pen.font = "11px " + FONT;
  pen.textAlign = "right";
  let free = -1e9, before = -1;
  for (const turn of rows) {
    if (turn.y < top - 300) { before = turn.crowdEnd; continue; }
    if (turn.y > bottom + 50) break;
    const quiet = before < 0 ? 0 : turn.at - before;
    const y = at(turn.y);
    if (quiet > 5e5 && turn.y - height(before) >= 34) {
      const middle = at((turn.y + height(before)) / 2);
      pen.fillStyle = ink.line;
      pen.fillText("+ " + brief(quiet), AXIS - 12, middle);
    }
    if (turn.at !== before && y - free >= 15) {
      pen.fillStyle = ink.soft;
      pen.fillText(seconds(turn.at), AXIS - 12, y);
      free = y;
    }
    before = turn.crowdEnd;
  }
}

function lives(pen, top, bottom, at) {
  pen.lineWidth = 1;
  pen.setLineDash([2, 5]);
  pen.strokeStyle = ink.line;
  for (const x of xs) { line(pen, x, HEAD, x, at(height(end))); }
  pen.setLineDash([]);
  pen.lineWidth = 2;
  pen.strokeStyle = ink.soft;
  for (const [peer, , from, to] of run.lives) {
    const a = height(from), b = height(to < 0 ? end : to);
    if (b >= top && a <= bottom) line(pen, xs[peer], at(a), xs[peer], at(b));
  }
}

function line(pen, x0, y0, x1, y1) {
  pen.beginPath(); pen.moveTo(x0, y0); pen.lineTo(x1, y1); pen.stroke();
}

// What goes wrong between two peers, and for how long.
function troubles(pen, top, bottom, at) {
  for (const turn of turns) {
    if (turn.kind !== FAULT || turn.a < 0 || !shown[FAULT]) continue;
    const from = turn.y, to = turn.until < 0 ? from : height(Math.min(turn.until, end));
    if (to < top || from > bottom) continue;
    const x0 = Math.min(xs[turn.a], xs[turn.b]), x1 = Math.max(xs[turn.a], xs[turn.b]);
    if (turn.until >= 0) {
      pen.globalAlpha = 0.07;
      pen.fillStyle = ink.band;
      pen.fillRect(x0, at(from), x1 - x0, Math.max(2, to - from));
      pen.globalAlpha = 1;
    }
    pen.strokeStyle = ink.band;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let x = x0, n = 0; x <= x1; x += 7, n++) pen.lineTo(x, at(from) + (n % 2 ? 2.5 : -2.5));
    pen.stroke();
  }
}

function drawArrow(pen, arrow, top, bottom, at) {
  const y0 = arrow.tail ? arrow.tail.y : height(arrow.sent);
  const ended = arrow.ended < 0 ? end : arrow.ended;
  let y1 = arrow.head ? arrow.head.y : height(ended);
  if (Math.max(y0, y1) < top - 20 || Math.min(y0, y1) > bottom + 20) return;
  const hot = picked && (picked.arrow === arrow || (picked.turn && (arrow.tail === picked.turn || arrow.head === picked.turn)));
  const warm = hovered === arrow;
  const lost = !arrow.heard;
  let x0 = xs[arrow.from], x1 = xs[arrow.to];
  if (lost) {
    // It never arrives: it ends where it was when its link ended.
    const part = ended > arrow.sent ? (arrow.lostAt - arrow.sent) / (ended - arrow.sent) : 0.5;
    x1 = x0 + (x1 - x0) * Math.min(0.94, Math.max(0.12, part));
    y1 = height(arrow.lostAt);
  }
  const color = lost ? ink.band : arrow.lane >= 0 ? ink.lane[arrow.lane % 4] : ink.topic[arrow.kind];
  pen.strokeStyle = color;
  pen.globalAlpha = hot || warm ? 1 : needle ? 0.25 : arrow.kind === BEAT ? 0.5 : 0.75;
  pen.lineWidth = (arrow.bytes > 0 ? 1.8 : 1) * (hot || warm ? 1.8 : 1);
  pen.setLineDash(lost ? [4, 3] : []);
  line(pen, x0, at(y0), x1, at(y1));
  pen.setLineDash([]);
  if (lost) {
    pen.lineWidth = 1.5;
    line(pen, x1 - 3, at(y1) - 3, x1 + 3, at(y1) + 3);
    line(pen, x1 - 3, at(y1) + 3, x1 + 3, at(y1) - 3);
  } else {
    const turn = Math.atan2(y1 - y0, x1 - x0), r = row < 6 ? 4 : 7;
    pen.fillStyle = color;
    pen.beginPath();
    pen.moveTo(x1, at(y1));
    pen.lineTo(x1 - r * Math.cos(turn - 0.4), at(y1) - r * Math.sin(turn - 0.4));
    pen.lineTo(x1 - r * Math.cos(turn + 0.4), at(y1) - r * Math.sin(turn + 0.4));
    pen.fill();
  }
  if (hot || warm || (row >= 14 && arrow.kind === 1)) {
    const x = (x0 + x1) / 2, y = at((y0 + y1) / 2);
    pen.font = "11px " + FONT;
    pen.textAlign = "center";
    const text = cut(pen, arrow.label === "bytes" ? size(arrow.bytes) : arrow.label, Math.abs(x1 - x0) - 20);
    const wide = pen.measureText(text).width;
    pen.globalAlpha = 0.9;
    pen.fillStyle = ink.paper;
    pen.fillRect(x - wide / 2 - 3, y - 7, wide + 6, 14);
    pen.globalAlpha = 1;
    pen.fillStyle = color;
    pen.fillText(text, x, y);
  }
  pen.globalAlpha = 1;
}

function matches(turn) {
  if (!needle) return true;
  if (turn.hay === undefined) {
    turn.hay = [turn.title, turn.text, ...turn.acts.map((act) => act.title + " " + act.text)].join("\n").toLowerCase();
  }
  return turn.hay.includes(needle);
}

function marks(pen, top, bottom, at) {
  const last = xs.length - 1;
  for (const turn of rows) {
    if (turn.y < top - 20) continue;
    if (turn.y > bottom + 20) break;
    const y = at(turn.y), fault = turn.kind === FAULT;
    const acts = turn.acts.filter((act) => shown[turn.kind === BEAT ? BEAT : act.topic]);
    // What is shown only for what followed steps back behind it.
    const aside = !shown[turn.kind] && acts.length > 0;
    const color = ink.topic[aside ? acts[0].topic : turn.kind];
    pen.globalAlpha = matches(turn) ? 1 : 0.2;
    let x = turn.peer >= 0 ? xs[turn.peer] : AXIS + 8;
    const between = turn.a >= 0;
    if (between) x = (xs[turn.a] + xs[turn.b]) / 2;
    if (!between) {
      pen.fillStyle = color;
      pen.strokeStyle = ink.paper;
      pen.lineWidth = 2;
      pen.beginPath();
      const r = row < 6 ? 2 : 4;
      if (fault) {
        const d = r + 2;
        pen.moveTo(x, y - d); pen.lineTo(x + d, y); pen.lineTo(x, y + d); pen.lineTo(x - d, y); pen.closePath();
      } else {
        pen.arc(x, y, r, 0, 7);
      }
      if (row >= 6) pen.stroke();
      pen.fill();
    }
    if (row < 11 && !fault) continue;
    pen.font = (fault ? "600 12px " : "12px ") + FONT;
    if (between) {
      const text = turn.title + (turn.until >= 0 ? " for " + brief(turn.until - turn.at) : "");
      const wide = pen.measureText(text).width;
      pen.fillStyle = ink.paper;
      pen.fillRect(x - wide / 2 - 6, y - 8, wide + 12, 16);
      pen.fillStyle = color;
      pen.textAlign = "center";
      pen.fillText(text, x, y);
      continue;
    }
    const leftwards = turn.peer === 0 && last > 0;
    const room = turn.peer < 0 ? W : turn.peer === 0 || turn.peer === last ? LABELS - 30
      : (xs[1] - xs[0]) * 0.6;
    const many = turn.crowd ? turn.crowd.length + " × " : "";
    const own = turn.title === "time passes" && acts.length ? "" : many + (many ? plain(turn.title) : turn.title);
    const first = cut(pen, own, room);
    const wide = own ? pen.measureText(first).width : 0;
    let rest = acts.length === 0 ? "" : tally(acts.map((act) => many ? plain(act.title) : act.title));
    if (own && rest) rest = " → " + rest;
    rest = room - wide > 40 ? cut(pen, rest, room - wide) : "";
    const restWide = rest ? pen.measureText(rest).width : 0;
    const start = leftwards ? x - 14 - wide - restWide : x + 14;
    pen.textAlign = "left";
    if (turn.peer > 0 && turn.peer < last) {
      pen.globalAlpha *= 0.85;
      pen.fillStyle = ink.paper;
      pen.fillRect(start - 2, y - 7, wide + restWide + 4, 14);
    }
    pen.fillStyle = fault ? color : aside ? ink.soft : ink.ink;
    pen.fillText(first, start, y);
    pen.fillStyle = aside ? ink.ink : ink.soft;
    if (rest) pen.fillText(rest, start + wide, y);
  }
  pen.globalAlpha = 1;
}

// Words of many turns, without the number that differs.
const plain = (title) => title.replace(/ (@|fh|from )?\d+.*$/, "");

// Words that are alike are counted, not repeated.
function tally(words) {
  const counts = new Map();
  for (const word of words) {
    const alike = word.replace(/^(asks for chunk|store @|hash @).*/, "$1");
    const count = counts.get(alike) || { word, n: 0, alike };
    count.n++;
    counts.set(alike, count);
  }
  return [...counts.values()].map(({ word, n, alike }) => n === 1 ? word
    : n + " × " + alike.replace(" @", "").replace(/ @$/, "")).join(", ");
}

function heads(pen) {
  pen.fillStyle = ink.paper;
  pen.fillRect(0, 0, W, HEAD - 4);
  pen.fillStyle = ink.faint;
  pen.fillRect(0, HEAD - 4, W, 1);
  pen.textAlign = "center";
  pen.font = "600 13px " + FONT;
  pen.fillStyle = ink.ink;
  run.peers.forEach((name, n) => pen.fillText(name, xs[n], 15));
  pen.font = "11px " + FONT;
  pen.fillStyle = ink.soft;
  pen.textAlign = "right";
  pen.fillText("seconds", AXIS - 12, 15);
  pen.textAlign = "left";
  for (const { map, x, wide } of strips) {
    const name = drawnMaps.length === 1 ? run.peers[map.peer] + "'s " + map.name : map.name;
    pen.fillText(cut(pen, name, wide + 10), x, 15);
  }
}

// A chunk map over time: across, the chunks; down, the time.
function chunkStrips(pen, top, bottom, at) {
  for (const { map, x, wide } of strips) {
    const one = wide / map.chunks, foot = height(end);
    const from = map.steps.length ? height(map.steps[0][0]) : foot;
    pen.fillStyle = ink.chunk[0];
    pen.fillRect(x, at(Math.max(from, top)), wide, Math.min(foot, bottom) - Math.max(from, top));
    for (const piece of map.pieces) {
      const left = Math.round(x + piece.chunk * one), right = Math.round(x + (piece.chunk + 1) * one);
      const a = Math.max(height(piece.from), top), b = Math.min(height(piece.to), bottom);
      if (b <= a) continue;
      pen.fillStyle = ink.chunk[piece.state];
      pen.fillRect(left, at(a), Math.max(1, right - left), b - a);
    }
  }
}

// ---- The whole run in a strip -------------------------------------------------------------------

const mini = $("mini");
let miniBack = null;
function paintMini() {
  const wide = 54, tall = mini.parentElement.clientHeight;
  const scale = tall / Math.max(total, 1);
  if (!miniBack) {
    const pen = fit(mini, wide, tall);
    const bins = new Map();
    for (const turn of rows) {
      const bin = Math.floor(turn.y * scale / 2);
      if (!bins.has(bin)) bins.set(bin, new Array(6).fill(0));
      bins.get(bin)[turn.kind]++;
    }
    let most = 1;
    for (const bin of bins.values()) most = Math.max(most, bin.reduce((a, b) => a + b, 0));
    pen.clearRect(0, 0, wide, tall);
    for (const [n, bin] of bins) {
      let x = 6;
      const sum = bin.reduce((a, b) => a + b, 0), length = 42 * Math.sqrt(sum / most);
      bin.forEach((count, kind) => {
        if (!count || kind === FAULT) return;
        pen.fillStyle = ink.topic[kind];
        pen.globalAlpha = 0.55;
        pen.fillRect(x, n * 2, length * count / sum, 1.6);
        x += length * count / sum;
      });
    }
    pen.globalAlpha = 1;
    for (const turn of rows) if (turn.kind === FAULT) {
      pen.fillStyle = ink.topic[FAULT];
      pen.fillRect(0, turn.y * scale - 1, wide, 2);
    }
    miniBack = pen.getImageData(0, 0, mini.width, mini.height);
  }
  const pen = mini.getContext("2d");
  pen.putImageData(miniBack, 0, 0);
  pen.strokeStyle = ink.ink;
  pen.globalAlpha = 0.5;
  pen.lineWidth = 1;
  pen.strokeRect(1.5, scroll.scrollTop * scale + 0.5, wide - 3, Math.max(8, H * scale) - 1);
  pen.globalAlpha = 1;
}

function miniTo(event) {
  const box = mini.getBoundingClientRect();
  scroll.scrollTop = (event.clientY - box.top) / box.height * total - H / 2;
}
mini.addEventListener("pointerdown", (event) => { mini.setPointerCapture(event.pointerId); miniTo(event); });
mini.addEventListener("pointermove", (event) => { if (event.buttons) miniTo(event); });

// ---- The side: what is picked, and the chunks at that time ----------------------------------------

const el = (name, attributes, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value); else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};

function pick(next, move = true) {
  picked = next;
  const turn = next && next.turn;
  if (turn && move) {
    if (turn.y < scroll.scrollTop + HEAD + 40 || turn.y > scroll.scrollTop + H - 60) {
      scroll.scrollTop = turn.y - H * 0.4;
    }
  }
  side();
  draw();
}

function message(arrow) {
  const way = run.peers[arrow.from] + " → " + run.peers[arrow.to];
  const where = arrow.lane >= 0 ? "lane " + arrow.lane : "control";
  const fate = arrow.heard ? "heard after " + brief(arrow.ended - arrow.sent)
    : arrow.ended < 0 ? "still on its way at the end" : "lost";
  const what = arrow.bytes ? size(arrow.bytes) : arrow.label;
  return el("button", { class: "msg", type: "button", onclick: () => follow(arrow) },
    what + " ", el("small", {}, way + " · link " + arrow.link + ", " + where + " · " + fate));
}

function follow(arrow) {
  const here = picked && picked.turn;
  const there = here === arrow.tail ? arrow.head : arrow.tail;
  if (there) pick({ turn: there }); else pick({ arrow });
}

function side() {
  const what = $("what");
  what.replaceChildren();
  const turn = picked && picked.turn, arrow = picked && picked.arrow;
  if (turn) {
    const who = turn.peer >= 0 ? run.peers[turn.peer] : turn.a >= 0
      ? run.peers[turn.a] + " and " + run.peers[turn.b] : "the world";
    what.append(el("h2", {}, turn.title), el("p", { class: "when" }, seconds(turn.at) + " s · " + who
      + (turn.until >= 0 ? " · until " + seconds(turn.until) + " s" : "")));
    if (turn.text !== turn.title) what.append(lineOf(turn.kind, turn.text));
    if (turn.acts.length) {
      what.append(el("h3", {}, turn.acts.length === 1 ? "What the engine did" : "What the engine did, in order"));
      for (const act of turn.acts) what.append(lineOf(act.topic, act.text));
    }
    const crowd = turn.crowd && visible(turn) ? turn.crowd : [];
    if (crowd.length) {
      what.append(el("h3", {}, crowd.length + " alike, until " + seconds(turn.crowdEnd) + " s"));
      for (const one of crowd.slice(1, 60)) {
        what.append(el("button", { class: "msg", type: "button", onclick: () => pick({ turn: one }) },
          one.title + " ", el("small", {}, seconds(one.at) + " s")));
      }
    }
    if (turn.into.length) what.append(el("h3", {}, "Came with"), ...turn.into.map(message));
    if (turn.out.length) what.append(el("h3", {}, "Sent"), ...turn.out.map(message));
  } else if (arrow) {
    what.append(el("h2", {}, arrow.label), el("p", { class: "when" }, "left at " + seconds(arrow.sent) + " s"), message(arrow));
  } else {
    what.append(el("h2", {}, "Pick an event"), el("p", { class: "hint" }, "Click one, or walk with ",
      el("kbd", {}, "j"), " and ", el("kbd", {}, "k"), "; ", el("kbd", {}, "f"), " goes to the next fault, ",
      el("kbd", {}, "l"), " along a message, ", el("kbd", {}, "?"), " shows all keys."));
  }
  sideMaps();
}

function lineOf(topic, text) {
  const node = el("p", { class: "line" }, text);
  node.style.borderColor = ink.topic[topic];
  return node;
}

function now() {
  if (picked && picked.turn) return picked.turn.at;
  if (picked && picked.arrow) return picked.arrow.sent;
  return timeAt(Math.min(scroll.scrollTop + H / 2, Y[Y.length - 1]));
}

function sideMaps() {
  const at = now(), here = $("maps");
  here.replaceChildren();
  const begun = maps.filter((map) => map.steps.length && map.steps[0][0] <= at);
  if (!begun.length) return;
  here.append(el("h3", {}, "Chunks at " + seconds(at) + " s"));
  for (const map of begun.slice(0, 12)) {
    const states = new Array(map.chunks).fill(0);
    for (const [when, chunk, state] of map.steps) { if (when > at) break; states[chunk] = state; }
    const have = states.filter((state) => state === 2 || state === 3).length;
    const canvas = el("canvas");
    here.append(el("div", { class: "map" },
      el("header", {}, el("span", {}, run.peers[map.peer] + " · " + map.name),
        el("span", {}, have + " of " + map.chunks)), canvas));
    const wide = here.clientWidth, cell = map.chunks > 2000 ? 4 : map.chunks > 400 ? 7 : 12;
    const across = Math.max(1, Math.floor((wide + 2) / cell)), down = Math.ceil(map.chunks / across);
    const pen = fit(canvas, wide, down * cell);
    states.forEach((state, n) => {
      pen.fillStyle = ink.chunk[state];
      pen.fillRect((n % across) * cell, Math.floor(n / across) * cell, cell - 2, cell - 2);
    });
  }
  const legend = el("div", { class: "legend" });
  STATES.forEach((name, n) => {
    const swatch = el("i");
    swatch.style.background = ink.chunk[n];
    legend.append(el("span", {}, swatch, name));
  });
  here.append(legend);
}

// ---- Hands -------------------------------------------------------------------------------------

function hit(event) {
  const box = view.getBoundingClientRect();
  const x = event.clientX - box.left, y = event.clientY - box.top + scroll.scrollTop;
  let best = null, near = Math.max(8, row / 2);
  for (const turn of rows) {
    if (turn.y < y - 30) continue;
    if (turn.y > y + 30) break;
    const home = turn.peer >= 0 ? xs[turn.peer] : turn.a >= 0 ? (xs[turn.a] + xs[turn.b]) / 2 : AXIS;
    const labelled = turn.peer === 0 && xs.length > 1 ? x < home + 10 && x > AXIS
      : turn.peer < 0 ? Math.abs(x - home) < 90 : x > home - 10 && x < home + (turn.peer === xs.length - 1 ? LABELS : 120);
    const distance = Math.abs(turn.y - y) + (Math.abs(x - home) < 10 ? -2 : 0);
    if (labelled && distance < near) { near = distance; best = { turn }; }
  }
  if (best) return best;
  let close = 6;
  for (const arrow of arrows) {
    if (!shown[arrow.kind]) continue;
    const y0 = arrow.tail ? arrow.tail.y : height(arrow.sent);
    const y1 = arrow.head ? arrow.head.y : height(arrow.ended < 0 ? end : arrow.ended);
    if (Math.max(y0, y1) < y - 8 || Math.min(y0, y1) > y + 8) continue;
    const x0 = xs[arrow.from], x1 = xs[arrow.to];
    const part = Math.min(1, Math.max(0, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)));
    const off = Math.hypot(x - x0 - part * (x1 - x0), y - y0 - part * (y1 - y0));
    if (off < close) { close = off; best = { arrow }; }
  }
  return best;
}
view.addEventListener("click", (event) => pick(hit(event), false));
view.addEventListener("mousemove", (event) => {
  const found = hit(event), arrow = found && found.arrow ? found.arrow : null;
  view.style.cursor = found ? "pointer" : "default";
  if (arrow !== hovered) { hovered = arrow; draw(); }
});
let sideSoon = 0;
scroll.addEventListener("scroll", () => {
  draw();
  if (!picked) { clearTimeout(sideSoon); sideSoon = setTimeout(sideMaps, 60); }
});
scroll.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientY - scroll.getBoundingClientRect().top);
}, { passive: false });

function again() { miniBack = null; layout(); draw(); }
function zoom(by, from = H / 2) {
  const t = timeAt(scroll.scrollTop + from);
  row = Math.min(34, Math.max(1.5, row * by));
  again();
  scroll.scrollTop = height(t) - from;
}
function toggle(n) {
  const t = timeAt(scroll.scrollTop + H / 2);
  shown[n] = !shown[n];
  topics();
  again();
  scroll.scrollTop = height(t) - H / 2;
}
function topics() {
  const here = $("topics");
  here.replaceChildren(...TOPICS.map((name, n) => {
    const count = turns.filter((turn) => turn.kind === n).length;
    const dot = el("i");
    dot.style.background = ink.topic[n];
    return el("button", { type: "button", "aria-pressed": String(shown[n]), title: "Show or hide  " + (n + 1), onclick: () => toggle(n) },
      dot, name, el("small", {}, String(count)));
  }));
}
function step(by, wanted = () => true) {
  if (!rows.length) return;
  const anchor = scroll.scrollTop + H * 0.4;
  let n = picked && picked.turn && visible(picked.turn) ? rows.indexOf(picked.turn.head) : -1;
  if (n < 0) {
    const t = picked && picked.turn ? picked.turn.y : anchor;
    n = rows.findIndex((turn) => turn.y >= t);
    n = n < 0 ? rows.length - 1 : n - (by > 0 ? 1 : 0);
    if (!picked && scroll.scrollTop < 10 && by > 0) n = -1;
  }
  for (n += by; n >= 0 && n < rows.length; n += by) {
    if (wanted(rows[n])) { pick({ turn: rows[n] }); return; }
  }
}
function dark(on) {
  document.documentElement.classList.toggle("dark", on);
  readInk();
  topics();
  again();
  side();
}
$("theme").onclick = () => dark(!document.documentElement.classList.contains("dark"));
$("in").onclick = () => zoom(1.3);
$("out").onclick = () => zoom(1 / 1.3);
$("help").onclick = () => $("keys").showModal();
$("verdict").onclick = () => { scroll.scrollTop = total; };
$("search").addEventListener("input", (event) => { needle = event.target.value.trim().toLowerCase(); draw(); });
$("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter") { step(event.shiftKey ? -1 : 1, matches); }
  if (event.key === "Escape") { event.target.blur(); }
  event.stopPropagation();
});
const KEYS = {
  j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
  f: () => step(1, (turn) => turn.kind === FAULT), F: () => step(-1, (turn) => turn.kind === FAULT),
  n: () => step(1, (turn) => needle && matches(turn)), N: () => step(-1, (turn) => needle && matches(turn)),
  l: () => { const arrow = picked && picked.turn && picked.turn.out.find((arrow) => arrow.head); if (arrow) follow(arrow); },
  h: () => { const arrow = picked && picked.turn && picked.turn.into[0]; if (arrow) follow(arrow); },
  g: () => { pick(null); scroll.scrollTop = 0; }, G: () => { scroll.scrollTop = total; },
  "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3),
  t: () => $("theme").click(), "?": () => $("keys").showModal(),
  e: () => { folded = !folded; again(); if (picked) pick(picked); },
  "/": () => $("search").focus(), Escape: () => pick(null),
};
for (let n = 0; n < TOPICS.length; n++) KEYS[String(n + 1)] = () => toggle(n);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const hand = KEYS[event.key];
  if (hand) { event.preventDefault(); hand(); }
});
new ResizeObserver(() => { measure(); again(); }).observe(scroll);

// ---- The start ---------------------------------------------------------------------------------

{
  const failure = run.failure, verdict = $("verdict");
  verdict.className = failure ? "bad" : "good";
  verdict.textContent = failure ? failure.promise + " is broken" : "All promises held";
  verdict.title = "To the judgement  G";
  $("lead").textContent = run.lead;
  $("meta").textContent = run.events.toLocaleString("en") + " events in " + brief(end)
    + " of virtual time · trace " + run.hash;
  const card = el("div", { class: "judgement " + (failure ? "bad" : "good") },
    el("b", {}, failure ? failure.kind + ": " + failure.promise + " is broken" : "All promises held"),
    failure ? failure.what : "The peers came to rest, agree, and are silent but for heartbeats.",
    el("code", {}, run.again));
  $("end").append(card);
  // An address may name a theme, an event and a zoom: #dark&event=120&row=9
  const wish = new URLSearchParams(location.hash.slice(1));
  if (wish.has("unfolded")) folded = false;
  if (wish.has("row")) row = Number(wish.get("row")) || row;
  readInk();
  measure();
  dark(wish.has("dark") || (!wish.has("light") && matchMedia("(prefers-color-scheme: dark)").matches));
  const turn = turns[Number(wish.get("event"))];
  if (wish.has("event") && turn) pick({ turn });
  if (wish.has("end")) scroll.scrollTop = total;
}
