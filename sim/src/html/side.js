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
  const begun = maps.filter((map) => map.steps.length && map.steps[0][0] <= at).slice(0, 40);
  if (!begun.length) return;
  here.append(el("h3", {}, "Chunks at " + seconds(at) + " s"));
  for (const map of begun) {
    const states = new Array(map.chunks).fill(0);
    for (const [when, chunk, state] of map.steps) { if (when > at) break; states[chunk] = state; }
    if (states.every((state) => state === 0)) continue;
    const have = states.filter((state) => state === 2 || state === 3).length;
    const claims = states.filter((state) => state === 4).length;
    const canvas = el("canvas");
    here.append(el("div", { class: "map" },
      el("header", {}, el("span", {}, run.peers[map.peer] + " · " + map.name),
        el("span", {}, have + (claims ? " and " + claims + " claimed, of " : " of ") + map.chunks)), canvas));
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
