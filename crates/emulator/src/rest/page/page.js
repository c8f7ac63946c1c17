"use strict";
// Everything shown is set as text, never as markup. The token lives in memory and in request headers only.
const EVERY_MS = 2000;
const $ = (id) => document.getElementById(id);
let token = "", seenAt = 0, before = {}, open = new Set(), timer = 0;

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = String(text);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function row(...cells) {
  const made = element("tr");
  for (const cell of cells) {
    if (cell instanceof HTMLTableCellElement) { made.append(cell); continue; }
    const td = element("td", cell instanceof Node ? undefined : cell);
    if (cell instanceof Node) td.append(cell);
    if (typeof cell === "number") td.className = "number";
    made.append(td);
  }
  return made;
}

// The hub answers, but not to us.
class Refused extends Error {}

async function ask(path, method = "GET", body = undefined) {
  const headers = { Authorization: "Bearer " + token };
  const answer = await fetch("/_emulator/v1" + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store", signal: AbortSignal.timeout(5000),
  });
  if (answer.status === 401) throw new Refused("the control token is wrong");
  const read = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(read && read.error ? read.error : "status " + answer.status);
  return read;
}

function button(id, label, pressed, deed) {
  const made = element("button", label, { id, type: "button", "aria-pressed": pressed });
  made.addEventListener("click", async () => {
    try { await deed(); await refresh(); } catch (e) { tell("Not done: " + e.message, true); }
  });
  return made;
}

function tell(text, stale) {
  const news = $("news");
  if (news.textContent !== text) news.textContent = text;
  news.className = stale ? "stale" : "";
}

// Whoever works by keyboard keeps the place.
function fill(id, rows) {
  const focused = document.activeElement && document.activeElement.id;
  $(id).replaceChildren(...rows);
  if (focused && $(focused)) $(focused).focus({ preventScroll: true });
}

function twin(device) {
  const details = element("details");
  details.open = open.has(device.id);
  details.addEventListener("toggle", () => details.open ? open.add(device.id) : open.delete(device.id));
  details.append(element("summary", device.id, { id: "twin-" + device.id }));
  details.append(element("pre", JSON.stringify(device.twin, null, 1), { id: "text-" + device.id, tabindex: "0" }));
  return details;
}

function deviceRow(device, connections, faults) {
  const own = connections.filter((c) => c.device_id === device.id);
  const fault = faults.devices[device.id];
  const path = "/faults/devices/" + encodeURIComponent(device.id);
  const turn = fault
    ? button("link-" + device.id, "Heal", true, () => ask(path, "DELETE"))
    : button("link-" + device.id, "Cut", false, () => ask(path, "PUT", { cut: "both" }));
  turn.setAttribute("aria-label", turn.textContent + " the link of " + device.id);
  const state = [device.edge ? "edge" : "", device.status, device.connection].filter(Boolean).join(", ");
  const open = own.map((c) => (c.module_id || "device") + " (" + c.transport + ")").join(", ") || "none";
  return row(twin(device), state, open, device.modules.join(", ") || "none", fault ? JSON.stringify(fault) : "none", turn);
}

function showSwitches(faults) {
  const hub = faults.hub;
  const turn = (name, label, body) => button("hub-" + name, (hub[name] ? "End: " : "") + label, Boolean(hub[name]),
    () => hub[name] ? ask("/faults/hub/" + name, "DELETE") : ask("/faults/hub/" + name, "PUT", body));
  fill("switches", [
    turn("frozen", "frozen hub", {}),
    turn("throttle", "429 to every call", {}),
    turn("server_error", "500 to every call", {}),
    turn("lost_answers", "lost answers", {}),
    turn("latency", "2 s of latency", { delay_ms: 2000 }),
    turn("clock", "clock 1 h ahead", { skew_ms: 3600000 }),
    turn("index", "index 1 min behind", { lag_ms: 60000 }),
    button("heal", "Heal everything", false, () => ask("/faults", "DELETE")),
  ]);
}

function showThrottles(throttles) {
  $("quota").textContent = throttles
    ? `${throttles.sku}, units: ${throttles.units}. Messages of the day: ${throttles.quota.used} of ${throttles.quota.max}.`
    : "Off: nothing is throttled.";
  const lanes = throttles ? Object.entries(throttles.lanes) : [];
  fill("lanes", lanes.map(([name, l]) => row(name, `${l.count} per ${l.per_s} s`, `${l.wait_ms} ms`, l.queued, l.refused)));
}

function showMeters(meters, billed) {
  $("billed").textContent = `Billed messages: ${billed.total}.`;
  fill("meters", Object.entries(meters).map(([name, n]) => row(name, n, Math.max(0, n - (before[name] || 0)))));
  before = meters;
}

async function refresh() {
  const [devices, connections, faults, throttles, meters, billed] = await Promise.all(
    ["/devices", "/connections", "/faults", "/throttles", "/meters", "/meters/billed"].map((path) => ask(path)));
  fill("devices", devices.map((device) => deviceRow(device, connections, faults)));
  showSwitches(faults);
  showThrottles(throttles);
  showMeters(meters, billed);
  seenAt = Date.now();
  document.querySelector("main").hidden = false;
  // Whoever logs in by keyboard goes on in what has appeared.
  if (!$("login").hidden) document.querySelector("main").focus({ preventScroll: true });
  $("login").hidden = true;
  followForEver();
  tell(`As of ${new Date(seenAt).toLocaleTimeString()}. ${devices.length} devices, ${connections.length} connections.`, false);
}

async function round() {
  try { await refresh(); } catch (e) {
    const age = seenAt ? `STALE: this is ${Math.round((Date.now() - seenAt) / 1000)} s old. ` : "";
    const said = e instanceof Refused ? "Refused: " : "The hub does not answer (is the emulator running?): ";
    tell(age + said + e.message + ".", true);
    if (!seenAt) { $("login").hidden = false; return; }
  }
  timer = setTimeout(round, EVERY_MS);
}

function begin(given) {
  clearTimeout(timer);
  token = given.trim();
  if (token) round();
}

$("login").addEventListener("submit", (event) => { event.preventDefault(); begin($("token").value); });
// Scripts that follow this one take part in what a login shows.
addEventListener("DOMContentLoaded", () => {
  if (location.hash.length <= 1) return;
  const given = decodeURIComponent(location.hash.slice(1));
  // The token stays out of the history and of what is copied from the address bar.
  history.replaceState(null, "", location.pathname);
  begin(given);
});
