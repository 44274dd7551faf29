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
  $("lead").textContent = failure ? "At " + seconds(failure.at) + " s: " + failure.what : run.lead;
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
