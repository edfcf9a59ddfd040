// The page works without this: it adds the live view, the reader's own time, keys, and the count of what is chosen.

const live = document.getElementById("live");
const body = document.body;

function localise(root) {
  for (const one of root.querySelectorAll("time[datetime]")) {
    const at = new Date(one.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const today = at.toDateString() === new Date().toDateString();
    const time = at.toLocaleTimeString([], { hour12: false });
    const day = `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
    one.title = one.dateTime;
    one.textContent = today ? time : `${day} ${time}`;
  }
}

// --- the live view ---

const button = document.getElementById("pause-live");
const state = document.getElementById("live-state");
const trouble = document.getElementById("trouble");
let source = null;
let paused = false;

function busy() {
  const active = document.activeElement;
  const typing = active && live.contains(active) && /^(INPUT|TEXTAREA|SELECT)$/.test(active.tagName);
  const selecting = !getSelection().isCollapsed && live.contains(getSelection().anchorNode);
  return typing || selecting || live.querySelector("input:checked") !== null;
}

function show(html) {
  if (busy()) return;
  const made = new DOMParser().parseFromString(html, "text/html");
  const open = [...live.querySelectorAll("details[open][id]")].map((one) => one.id);
  const focused = live.contains(document.activeElement) ? place(document.activeElement) : null;
  localise(made);
  live.replaceChildren(...made.body.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) live.querySelectorAll("a, button, summary, tr[tabindex]")[focused]?.focus();
}

function place(element) {
  return [...live.querySelectorAll("a, button, summary, tr[tabindex]")].indexOf(element);
}

function listen() {
  if (source || paused || document.hidden) return;
  source = new EventSource(body.dataset.live);
  source.addEventListener("open", () => say("live", false));
  source.addEventListener("error", () => say("reconnecting", true));
  source.addEventListener("page", (event) => { trouble.hidden = true; show(event.data); });
  source.addEventListener("trouble", (event) => { trouble.textContent = event.data; trouble.hidden = false; });
}

function deafen() {
  source?.close();
  source = null;
}

function say(word, away) {
  if (paused) return;
  state.textContent = word;
  button.classList.toggle("away", away);
}

function toggle() {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  state.textContent = paused ? "paused" : "live";
  if (paused) deafen(); else listen();
}

if (body.dataset.live) {
  button.addEventListener("click", toggle);
  document.addEventListener("visibilitychange", () => { if (document.hidden) deafen(); else listen(); });
  addEventListener("pagehide", deafen);
  addEventListener("pageshow", listen);
  listen();
}

// --- choosing rows ---

function count(form) {
  const chosen = form.querySelectorAll('input[name="id"]:checked').length;
  for (const one of form.querySelectorAll("button[data-chosen]")) {
    one.dataset.text ??= one.textContent;
    one.textContent = chosen ? `${one.dataset.text} (${chosen})` : one.dataset.text;
    one.disabled = chosen === 0;
  }
}

for (const form of document.querySelectorAll("form[data-choose]")) {
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) {
      for (const one of form.querySelectorAll('input[name="id"]')) one.checked = event.target.checked;
    }
    count(form);
  });
  count(form);
}

// --- keys ---

const keys = document.getElementById("keys");
let before = "";

function step(by) {
  const rows = [...document.querySelectorAll("tr[tabindex], .rows tbody tr")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement?.closest("tr"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  next.tabIndex = -1;
  next.focus();
}

function press(event) {
  const row = document.activeElement?.matches("tr") ? document.activeElement : null;
  switch (event.key) {
    case "/": document.getElementById("find").focus(); break;
    case "?": keys.showModal(); break;
    case "j": step(1); break;
    case "k": step(-1); break;
    case "p": button?.click(); break;
    case "x": row?.querySelector('input[name="id"]')?.click(); row?.focus(); break;
    case "Enter": if (!row) return; row.querySelector("a")?.click(); break;
    default: return;
  }
  event.preventDefault();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox") {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (before === "g") {
    before = "";
    document.querySelector(`header nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  before = event.key === "g" ? "g" : "";
  if (!before) press(event);
});
document.getElementById("help").addEventListener("click", () => keys.showModal());

localise(document);
