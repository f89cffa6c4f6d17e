// One case on screen, judged by keyboard or pointer; the server writes the pages, this swaps them.

import { Outbox, newKey, post } from "/static/queue.js";

const $ = (selector, within = document) => within.querySelector(selector);
const meta = (name) => $(`meta[name="${name}"]`).content;
const token = meta("form-token");
const main = $("#case");
const SPARES_AFTER = 400;
const RENEW = Math.min(60000, (1000 * Number(meta("lease"))) / 3), PRESENT = 300000;

let shownAt = performance.now();
let lastTouch = performance.now();
let spares = []; // cases that are held for when the network is cut
let spareTimer = null;
let standIn = false; // a spare is on screen, which the server does not know yet
const saidOf = new Map(); // item to the word last said of it, which an undo gives back to be changed
const screens = new Map(); // key of a word to the screen it was said on, for undoing before it was sent

// Another run may have been at this address: what waits for it is not for this one.
const outbox = new Outbox(`anomaly.words.${meta("session")}.${meta("annotator")}`, token, {
  changed: (n) => {
    const waiting = $("#waiting");
    waiting.hidden = !(n && waiting.dataset.cut);
    waiting.textContent = n === 1 ? "1 word waits here" : `${n} words wait here`;
    if (!n) delete waiting.dataset.cut;
  },
  body: (entry) => (standIn && entry.path === "/say" ? { ...entry.body, stay: item() } : entry.body),
  answered: async (entry, response, last) => {
    trouble("");
    screens.delete(entry.body.key);
    if (!response.ok) {
      const why = await reason(response);
      trouble(`${entry.body.item ?? "Undo"} was not taken: ${why}`);
      if (last && !standIn) await reload();
      return;
    }
    if (response.status === 204) {
      // The server knows now which case is on screen.
      if (last) standIn = false;
      return;
    }
    if (!last) return;
    const undone = response.headers.get("x-undone");
    const said = undone === null ? `Saved: ${entry.body.verdict}.` : undone === "1" ? "Taken back." : "Nothing to undo.";
    show(await response.text(), said);
  },
  cut: (entry, response) => {
    $("#waiting").dataset.cut = "1";
    outbox.changed(outbox.entries().length);
    if (response?.status === 401 || response?.status === 403) {
      trouble(`Enter again as ${meta("annotator")} in another tab; what you said waits in this page.`);
    } else if (response) {
      trouble("The server cannot write just now. What you said waits in this page.");
    }
    if (main.getAttribute("aria-busy")) standBy();
  },
});

function item() {
  return $("[data-item]", main)?.dataset.item ?? "";
}

function announce(text) {
  $("#news").textContent = text;
}

function trouble(text) {
  $("#trouble").hidden = !text;
  $("#trouble").textContent = text;
}

async function reason(response) {
  try {
    const { detail } = await response.json();
    return typeof detail === "string" ? detail : "it is not well formed";
  } catch {
    return `error ${response.status}`;
  }
}

function show(html, said = "") {
  main.innerHTML = html;
  main.removeAttribute("aria-busy");
  standIn = false;
  shownAt = performance.now();
  const title = $("h1", main);
  scrollTo(0, 0);
  title?.focus({ preventScroll: true });
  announce(`${said} ${title?.textContent ?? ""} ${$(".sub", main)?.textContent ?? ""}`.trim());
  hold(spares.filter((spare) => spare.item !== item()));
  clearTimeout(spareTimer);
  spareTimer = setTimeout(fetchSpares, SPARES_AFTER);
  tellReasons();
  if (said === "Taken back." && saidOf.has(item())) refill(saidOf.get(item()));
}

function refill(word) {
  const kind = [...main.querySelectorAll('input[name="kind"]')].find((choice) => choice.value === word.typology);
  if (kind) kind.checked = true;
  else $("#kind", main).value = word.typology ?? "";
  for (const choice of main.querySelectorAll('input[name="sure"]')) choice.checked = Number(choice.value) === word.confidence;
  $("#note", main).value = word.note ?? "";
}

// Reasons take a moment; the most surprising events stand in for them.
async function tellReasons() {
  const late = $(".reasons[data-late]", main);
  if (!late) return;
  try {
    const response = await fetch(`/reasons?item=${encodeURIComponent(item())}`, { credentials: "same-origin" });
    const html = response.ok && (await response.text());
    if (html && late.isConnected) late.outerHTML = html;
  } catch {
    // The network is cut; what stands in stays.
  }
}

function hold(cases) {
  spares = cases;
  main.dataset.spares = cases.length;
}

// The network is cut: go on with a case that is held for that, or wait.
function standBy() {
  const next = spares[0];
  if (next) {
    const html = next.html;
    show(html, "Kept in this page until the network is back.");
    standIn = true;
    return;
  }
  main.removeAttribute("aria-busy");
  main.innerHTML =
    '<div class="end" data-item=""><h1 tabindex="-1">Waiting for the network</h1>' +
    "<p>What you have said is kept in this page and is sent once the server answers.</p></div>";
  $("h1", main).focus();
}

async function fetchSpares() {
  if (!item() || outbox.entries().length) return;
  try {
    const response = await post("/spares", { have: spares.map((spare) => spare.item) }, token);
    if (!response.ok) return;
    const held = await response.json();
    const known = new Map(spares.map((spare) => [spare.item, spare]));
    hold(held.map((spare) => (spare.html ? spare : known.get(spare.item))).filter((s) => s && s.item !== item()));
  } catch {
    // Without them the page waits where it would have gone on.
  }
}

async function reload() {
  try {
    const response = await fetch("/case", { credentials: "same-origin" });
    if (response.ok) show(await response.text());
    else if (response.status === 401) location.assign("/enter");
  } catch {
    trouble("The server does not answer; nothing is lost.");
  }
}

function chosenKind() {
  return $("#kind", main).value.trim() || $('input[name="kind"]:checked', main)?.value || null;
}

function say(verdict) {
  if (!item() || main.getAttribute("aria-busy") || !$(".case", main)) return;
  const word = {
    key: newKey(),
    item: item(),
    verdict,
    typology: chosenKind(),
    confidence: Number($('input[name="sure"]:checked', main)?.value ?? 1),
    note: $("#note", main).value.trim() || null,
    duration_ms: Math.round(performance.now() - shownAt),
  };
  screens.set(word.key, main.innerHTML);
  saidOf.set(word.item, word);
  $(`[data-say="${verdict}"]`, main).setAttribute("aria-pressed", "true");
  main.setAttribute("aria-busy", "true");
  standIn = false;
  const cut = outbox.busy || $("#waiting").dataset.cut;
  outbox.add("/say", word);
  if (cut) standBy();
}

function undo() {
  if (main.getAttribute("aria-busy")) return;
  const unsent = outbox.takeBack();
  if (unsent && screens.has(unsent.body.key)) {
    const before = item();
    const html = main.innerHTML;
    if (before) hold([{ item: before, html }, ...spares]);
    show(screens.get(unsent.body.key), "Taken back.");
    standIn = true;
    return;
  }
  main.setAttribute("aria-busy", "true");
  standIn = false;
  outbox.add("/undo", { key: newKey() });
}

async function ask() {
  try {
    const response = await post("/ask", { item: item() }, token);
    if (!response.ok) return trouble(await reason(response));
    $("#score", main).innerHTML = await response.text();
    $(".score", main).focus();
    announce($(".score", main).textContent.replace(/\s+/g, " "));
  } catch {
    trouble("The score cannot be shown while the network is cut.");
  }
}

async function open(id) {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  try {
    const response = await post("/open", { item: id }, token);
    if (response.ok) show(await response.text());
    else trouble(`${id}: ${await reason(response)}`);
  } catch {
    trouble("A case cannot be opened while the network is cut.");
  }
}

// An answer that comes after a later question is not shown; tells whether it is.
async function fill(target, path) {
  const asked = (fills += 1);
  try {
    const response = await fetch(path, { credentials: "same-origin" });
    const html = response.ok ? await response.text() : "";
    if (asked === fills) target.innerHTML = html;
  } catch {
    if (asked === fills) target.textContent = "The network is cut.";
  }
  return asked === fills;
}

let fills = 0, searchTimer = null;
function find(words) {
  clearTimeout(searchTimer);
  return fill($("#results"), `/search?q=${encodeURIComponent(words)}`);
}

function search(words = "") {
  const dialog = $("#search");
  if (!dialog.open) dialog.showModal();
  const input = $("#words");
  input.value = words;
  input.focus();
  input.select();
  find(words);
}

async function disputes() {
  if (!$('[data-do="disputes"]')) return;
  $("#disputes").showModal();
  await fill($("#dispute-list"), "/disputes");
  $("#dispute-list button")?.focus();
}

async function leave() {
  const left = outbox.entries().length;
  if (left) return trouble(`${left} of your words wait here; leave once they are sent.`);
  try {
    await post("/leave", {}, token);
    location.assign("/enter");
  } catch {
    trouble("The server does not answer; you can close this page.");
  }
}

function pickKind(number) {
  const kinds = main.querySelectorAll('input[name="kind"]');
  $("#kind", main).value = "";
  if (number === 0) for (const kind of kinds) kind.checked = false;
  else if (kinds[number - 1]) {
    kinds[number - 1].checked = true;
    announce(`Kind: ${kinds[number - 1].value}`);
  }
}

function nextSure() {
  const all = [...main.querySelectorAll('input[name="sure"]')];
  const at = all.findIndex((choice) => choice.checked);
  const next = all[(at + 1) % all.length];
  next.checked = true;
  announce(next.parentElement.textContent.trim());
}

const doings = {
  undo, ask, search: () => search(), disputes, help: () => $("#help").showModal(), leave, again: reload,
};
const keys = {
  a: () => say("anomalous"), n: () => say("normal"), u: () => say("unsure"), s: () => say("skipped"),
  e: () => say("escalated"), z: undo, x: () => $('[data-do="ask"]', main) && ask(), "/": () => search(),
  d: disputes, "?": doings.help, h: doings.help, k: nextSure,
  t: () => $("#kind", main)?.focus(), c: () => $("#note", main)?.focus(),
};

addEventListener("keydown", (event) => {
  lastTouch = performance.now();
  if (event.isComposing) return;
  const typing = event.target.matches("textarea, select, input:not([type=radio], [type=checkbox])");
  if (event.target.id === "words" || event.target.closest("#results")) return walk(event);
  if (typing) {
    const leaves = event.key === "Escape" || (event.key === "Enter" && event.target.id === "kind");
    if (leaves) {
      event.preventDefault();
      $("h1", main)?.focus({ preventScroll: true });
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (!$("#single").checked || event.repeat) return;
  // Where letters are not Latin, a key is known by its place.
  const key = (event.key.length === 1 && event.key > "~" ? event.code.replace("Key", "") : event.key).toLowerCase();
  if (/^[0-9]$/.test(key) && $(".case", main)) pickKind(Number(key));
  else if (keys[key]) keys[key]();
  else return;
  event.preventDefault();
});

// Up and down in the list of results, Enter takes the first; Escape leaves, where by itself it would empty the field.
function walk(event) {
  if (event.key === "Escape") {
    event.preventDefault();
    return $("#search").close();
  }
  const rows = [...document.querySelectorAll("#results button")];
  const at = rows.indexOf(document.activeElement);
  if (event.key === "Enter" && at < 0) {
    event.preventDefault();
    find($("#words").value).then((shown) => shown && $("#search").open && $("#results button")?.click());
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    (rows[next] ?? $("#words")).focus();
  }
}

addEventListener("click", (event) => {
  lastTouch = performance.now();
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.say) say(button.dataset.say);
  else if (button.dataset.do) doings[button.dataset.do]?.();
  else if (button.dataset.open !== undefined) open(button.dataset.open);
  else if (button.dataset.find !== undefined) search(button.dataset.find);
});

$("#words").addEventListener("input", (event) => {
  clearTimeout(searchTimer);
  const words = event.target.value;
  searchTimer = setTimeout(() => find(words), 120);
});
main.addEventListener("input", (event) => {
  if (event.target.id === "kind" && event.target.value) pickKindOff();
});
function pickKindOff() {
  for (const kind of main.querySelectorAll('input[name="kind"]')) kind.checked = false;
}

const single = $("#single");
single.checked = localStorage.getItem("anomaly.single") !== "off";
single.addEventListener("change", () => localStorage.setItem("anomaly.single", single.checked ? "on" : "off"));

// A sign of life while somebody is here; an abandoned case goes back by itself.
setInterval(() => {
  if (performance.now() - lastTouch < PRESENT) post("/renew", {}, token).catch(() => {});
}, RENEW);

if (outbox.entries().length) {
  $("#waiting").dataset.cut = "1";
  outbox.changed(outbox.entries().length);
  main.setAttribute("aria-busy", "true");
  outbox.flush();
} else {
  $("h1", main)?.focus({ preventScroll: true });
  spareTimer = setTimeout(fetchSpares, SPARES_AFTER);
  tellReasons();
}
document.documentElement.dataset.ready = "1";
