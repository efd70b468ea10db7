// Connects the parts of the page: the list of sessions, the open session, and the user's actions.

import { ApiError, follow, idempotencyKey, json, request, sessions, setToken } from "./api.js";
import { apply, dropPreviews, emptySession, preview } from "./model.js";
import { drawTurn } from "./timeline.js";
import { draw, element, welcome } from "./view.js";

const $ = (id) => document.getElementById(id);
const log = $("log");

let open = null; // the open session's id; null until a new session has its first message
let session = emptySession();
let interrupts = [];
let following = new AbortController();
let known = [];
const shown = new Map(); // item key → element
const toggled = new Map(); // item key → whether the user opened or closed it
let followsEnd = true;

const actions = {
  interruptOf: (key) => interrupts.find((interrupt) => interrupt.interrupt_id === key),
  isOpen: (item) => toggled.get(item.key) ?? (item.state === "waiting" || item.state === "failed"),
  setOpen: (item, isOpen) => toggled.set(item.key, isOpen),
  answer: (id, value) => attempt(() => json("POST", `sessions/${open}/resume`, { body: { interrupt_id: id, value } }).then(refresh)),
};

// ---- the conversation ----

function show(keys) {
  for (const key of keys) {
    const item = session.items.get(key);
    const before = shown.get(key);
    if (!item) {
      before?.remove();
      shown.delete(key);
      continue;
    }
    const drawn = draw(item, actions);
    if (before) {
      const focused = before.contains(document.activeElement) ? [...before.querySelectorAll("*")].indexOf(document.activeElement) : -1;
      before.replaceWith(drawn);
      if (focused >= 0) (drawn.querySelectorAll("*")[focused] ?? drawn.querySelector("summary, button"))?.focus?.();
    } else {
      log.querySelector(".welcome")?.remove();
      log.append(drawn);
    }
    shown.set(key, drawn);
  }
  if (followsEnd) log.scrollTop = log.scrollHeight;
}

function showStatus() {
  const { status } = session;
  const isBusy = status === "running" || status === "interrupted";
  $("session-status").textContent = open ? { idle: "ready", running: "running", interrupted: "needs you", error: "failed" }[status] : "";
  $("session-status").className = `badge ${status}`;
  $("cancel").hidden = !isBusy;
  $("send").hidden = isBusy;
  $("composer-hint").textContent = status === "interrupted" ? "Answer above to let the agent go on." : "Enter sends, Shift+Enter starts a new line.";
  $("delete-session").hidden = !open;
}

function showTimeline() {
  const turns = [...session.turns.values()].reverse().slice(0, 50);
  const now = Math.max(session.lastTime, ...turns.filter((turn) => turn.end === undefined).map(() => Date.now()));
  $("turns").replaceChildren(...turns.map((turn) => drawTurn(turn, now)));
  $("no-turns").hidden = turns.length > 0;
}

// Loads what the log does not contain: the questions that wait for an answer.
async function refresh() {
  const id = open;
  const current = await json("GET", `sessions/${id}`);
  if (open !== id) return;
  interrupts = current.interrupts ?? [];
  show([...session.items.values()].filter((item) => item.state === "waiting").map((item) => item.key));
}

function onFrame(name, data) {
  if (name === "event_start" || name === "event_delta") return show(preview(session, data));
  const before = session.status;
  show(apply(session, data));
  showTimeline();
  if (session.status !== before) {
    showStatus();
    if (session.status === "interrupted") attempt(refresh);
    listSoon();
  }
}

function select(id, title) {
  following.abort();
  following = new AbortController();
  open = id;
  session = emptySession();
  interrupts = [];
  shown.clear();
  toggled.clear();
  followsEnd = true;
  log.replaceChildren(welcome());
  $("session-title").textContent = title ?? (id ? shortId(id) : "New session");
  notice("");
  showStatus();
  showTimeline();
  drawSessions();
  history.replaceState(null, "", id ? `#${id}` : location.pathname + location.search);
  if (!id) return;
  const { signal } = following;
  const onState = (state) => {
    if (signal.aborted) return;
    if (state === "gone") {
      select(null);
      notice("This session no longer exists.");
    } else if (state === "unauthorized") {
      signIn();
    } else if (state === "lost") {
      show(dropPreviews(session));
      notice("The connection was lost. Trying again…");
    } else {
      notice("");
    }
  };
  follow(id, 0, { signal, onState, onFrame: (name, data) => !signal.aborted && onFrame(name, data) });
}

// ---- the list of sessions ----

// An id begins with the time: only its end distinguishes sessions created within a minute.
const shortId = (id) => id.slice(-8);
const titleOf = (listed) => listed.metadata?.title || shortId(listed.session_id);

function drawSessions() {
  const newest = [...known].reverse().slice(0, 200);
  $("session-list").replaceChildren(
    ...newest.map((listed) =>
      element(
        "li",
        {},
        element(
          "button",
          { type: "button", "aria-current": listed.session_id === open ? "true" : undefined, onclick: () => (select(listed.session_id, titleOf(listed)), drawer("sessions", false)) },
          element("span", { class: "title" }, titleOf(listed)),
          element("span", { class: "facts" }, element("span", { class: `badge ${listed.status}` }, listed.status), `${listed.total_messages} messages`),
        ),
      ),
    ),
  );
  $("no-sessions").hidden = newest.length > 0;
}

let listTimer;
const listSoon = () => {
  clearTimeout(listTimer);
  listTimer = setTimeout(list, 200);
};

async function list() {
  await attempt(async () => {
    known = await sessions();
    const current = known.find((listed) => listed.session_id === open);
    if (current) $("session-title").textContent = titleOf(current);
    drawSessions();
  });
}

async function health() {
  const line = $("health");
  try {
    const { running_workers, total_sessions } = await json("GET", "health");
    line.textContent = `${total_sessions} ${total_sessions === 1 ? "session" : "sessions"}, ${running_workers} running`;
    line.classList.remove("down");
  } catch {
    line.textContent = "The server does not answer.";
    line.classList.add("down");
  }
}

// ---- the user's actions ----

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) signIn();
    else notice(error instanceof ApiError ? error.message : "The server could not be reached.");
    return undefined;
  }
}

function signIn() {
  if (!$("sign-in").open) $("sign-in").showModal();
}

let sending = false;
async function send() {
  const text = $("text").value;
  if (sending || !text.trim() || session.status === "running" || session.status === "interrupted") return;
  sending = true;
  $("send").disabled = true;
  notice("");
  await attempt(async () => {
    if (!open) {
      const title = text.trim().replace(/\s+/g, " ").slice(0, 60);
      const made = await json("POST", "sessions", { body: { metadata: { title } }, headers: { "idempotency-key": idempotencyKey() } });
      select(made.session_id, title);
    }
    followsEnd = true;
    await request("POST", `sessions/${open}/messages`, { body: { content: text }, headers: { "idempotency-key": idempotencyKey() } });
    $("text").value = "";
    listSoon();
  });
  sending = false;
  $("send").disabled = false;
}

function drawer(name, isOpen) {
  $(name).classList.toggle("open", isOpen);
  $(`toggle-${name}`).setAttribute("aria-expanded", String(isOpen));
}

for (const name of ["sessions", "timeline"]) {
  $(`toggle-${name}`).addEventListener("click", () => drawer(name, !$(name).classList.contains("open")));
}
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const name of ["sessions", "timeline"]) {
    if ($(name).classList.contains("open")) {
      drawer(name, false);
      $(`toggle-${name}`).focus();
    }
  }
});
$("composer").addEventListener("submit", (event) => (event.preventDefault(), send()));
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
$("cancel").addEventListener("click", () => attempt(() => request("POST", `sessions/${open}/cancel`)));
$("new-session").addEventListener("click", () => (select(null), drawer("sessions", false), $("text").focus()));
$("delete-session").addEventListener("click", () => $("confirm-delete").showModal());
$("confirm-delete").addEventListener("close", () => {
  const dialog = $("confirm-delete");
  if (dialog.returnValue !== "delete") return;
  dialog.returnValue = "";
  attempt(async () => {
    await request("DELETE", `sessions/${open}`);
    select(null);
    await list();
  });
});
$("sign-in").addEventListener("close", () => {
  if (!$("token").value) return;
  setToken($("token").value);
  $("token").value = "";
  start();
});
log.addEventListener("scroll", () => {
  followsEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  $("to-end").hidden = followsEnd;
});
$("to-end").addEventListener("click", () => {
  followsEnd = true;
  log.scrollTop = log.scrollHeight;
});
setInterval(() => session.status === "running" && showTimeline(), 500);
setInterval(health, 5000);
setInterval(list, 15_000);

function start() {
  const id = location.hash.slice(1);
  select(/^[0-9a-f-]{36}$/.test(id) ? id : null);
  health();
  list();
}
start();
