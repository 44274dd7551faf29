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
  const done = new Map();
  for (const turn of turns) {
    if (turn.kind !== FAULT || turn.a < 0 || !shown[FAULT]) continue;
    const from = turn.y, to = turn.until < 0 ? from : height(Math.min(turn.until, end));
    if (to < top || from > bottom) continue;
    const x0 = Math.min(xs[turn.a], xs[turn.b]), x1 = Math.max(xs[turn.a], xs[turn.b]);
    if (turn.until >= 0) {
      // Troubles that overlap make one band.
      const begin = Math.max(from, done.get(turn.a + turn.b * 99) ?? 0);
      done.set(turn.a + turn.b * 99, Math.max(begin, to));
      done.set(turn.b + turn.a * 99, Math.max(begin, to));
      pen.globalAlpha = 0.09;
      pen.fillStyle = ink.band;
      if (to > begin) pen.fillRect(x0, at(begin), x1 - x0, to - begin);
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
  if (hot || warm || (row >= 14 && arrow.kind === 1 && Math.abs(x1 - x0) > 90)) {
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
