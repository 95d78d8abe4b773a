// The sync page: asks for a session, shows its QR codes and says how it goes.
// All words are in the page; here are only the states that choose among them.
"use strict";

const $ = (id) => document.getElementById(id);
const sleep = Number(document.body.dataset.sleep) * 1000;
const changes = Number(document.body.dataset.changes);

let user = "";
let state = "start";
let socket = null;
// Counts the frames of all sessions: what was drawn for an earlier one comes too late.
let frames = 0;
let ticking = 0;

// start, opening, waiting, scanned, complete, expired or refused; the text may say more.
function show(next, text = next) {
  state = next;
  for (const part of document.querySelectorAll("[data-when]")) {
    part.hidden = !part.dataset.when.split(" ").includes(next);
  }
  const status = $("status");
  status.textContent = text === "start" ? "" : $(text).textContent;
  if (next !== "waiting") clearInterval(ticking);
  // What had the focus may be hidden now.
  if (next !== "start" && !document.activeElement?.checkVisibility?.()) status.focus();
  if (document.activeElement === document.body && next !== "start") status.focus();
}

async function begin() {
  socket?.close();
  socket = null;
  show("opening");
  let answer;
  try {
    answer = await fetch("/v2/sync/users/" + encodeURIComponent(user));
  } catch {
    return show("refused", "lost");
  }
  if (answer.status === 400) return ask("bad-user");
  if (!answer.ok) return show("refused", [429, 503].includes(answer.status) ? "busy" : "refused");
  listen(await answer.text());
}

function ask(text) {
  show("start", text);
  $("user").setAttribute("aria-invalid", String(text === "bad-user"));
  $("user").focus();
}

function listen(url) {
  let seen = 0;
  let mine;
  try {
    mine = socket = new WebSocket(url);
  } catch {
    return show("refused", "no-socket");
  }
  mine.onmessage = ({ data }) => {
    if (mine !== socket) return;
    frames += 1;
    if (data === "201- pause") show("scanned");
    else if (data === "200- ack") show("complete");
    else draw(JSON.parse(data), ++seen >= changes);
  };
  mine.onclose = ({ code }) => {
    if (mine !== socket || state === "complete") return;
    frames += 1;
    if (!seen) show("refused", "no-socket");
    else if (code === 1000) show("expired");
    else show("refused", "lost");
  };
}

async function draw({ qr_url, mobile_url }, last) {
  const mine = frames;
  const end = performance.now() + sleep;
  let picture;
  try {
    // In the body, where no log of a proxy keeps the session's id.
    const answer = await fetch("/sync/qr", { method: "POST", body: qr_url });
    if (!answer.ok) throw new Error(answer.statusText);
    picture = await answer.blob();
  } catch {
    if (mine !== frames) return;
    socket.close();
    socket = null;
    return show("refused", "lost");
  }
  if (mine !== frames) return;
  URL.revokeObjectURL($("qr").src);
  $("qr").src = URL.createObjectURL(picture);
  $("host").textContent = new URL(qr_url).host;
  $("open").href = mobile_url;
  for (const line of document.querySelectorAll("[data-code]")) {
    line.hidden = (line.dataset.code === "last") !== last;
  }
  clearInterval(ticking);
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    for (const number of document.querySelectorAll("[data-left]")) number.textContent = left;
  };
  tick();
  ticking = setInterval(tick, 250);
  if (state !== "waiting") show("waiting");
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  user = $("user").value.trim();
  $("user").removeAttribute("aria-invalid");
  begin();
});

$("again").addEventListener("click", () => {
  if (state !== "complete") return begin();
  // The next phone may be another person's.
  socket = null;
  $("user").value = "";
  ask("start");
});
