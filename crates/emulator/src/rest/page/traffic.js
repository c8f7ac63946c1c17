"use strict";
// Live traffic: the tail of the control API, the newest line first. Loaded after page.js, which it shares names with.
const LINES_MAX = 200;
const AGAIN_AFTER_MS = 2000;
const traffic = { lines: 0, missed: 0, paused: false, following: false, held: [] };

const SHOWN_MAX = 60;

// What is long is behind its beginning.
function folded(text) {
  if (text.length <= SHOWN_MAX) return element("span", text);
  const details = element("details");
  details.append(element("summary", text.slice(0, SHOWN_MAX) + "…"), element("pre", text, { tabindex: "0" }));
  return details;
}

function bodyOf(line) {
  if (line.bodyBase64 !== undefined) return "base64: " + line.bodyBase64;
  return typeof line.body === "string" ? line.body : JSON.stringify(line.body) || "";
}

function lineRow(line) {
  const from = line.module ? line.device + "/" + line.module : line.device;
  const properties = Object.entries(line.properties || {});
  // What the notice is about stands first: the rest is the same for all.
  properties.sort(([left], [right]) => (right === "opType") - (left === "opType"));
  const told = properties.map(([name, value]) => name + "=" + value).join(", ");
  const time = element("time", line.at.slice(11, 23), { datetime: line.at, title: line.at });
  const made = row(time, line.kind, from, line.endpoint || "none", folded(told), folded(bodyOf(line)));
  made.line = line;
  return made;
}

function wanted(line) {
  const device = $("only-device").value.trim(), kind = $("only-kind").value, text = $("only-text").value.trim();
  return (!device || line.device === device) && (!kind || line.kind === kind)
    && (!text || JSON.stringify(line).toLowerCase().includes(text.toLowerCase()));
}

function countTraffic() {
  const rows = [...$("traffic").children];
  const shown = rows.filter((r) => !r.hidden).length;
  const lost = traffic.missed ? ` ${traffic.missed} came too fast to be shown.` : "";
  const held = traffic.held.length ? ` ${traffic.held.length} are held back.` : "";
  $("flow").textContent = `${traffic.lines} so far, ${shown} of the last ${rows.length} shown.${held}${lost}`;
}

function show(lines) {
  const body = $("traffic");
  for (const line of lines) {
    const made = lineRow(line);
    made.hidden = !wanted(line);
    body.prepend(made);
  }
  while (body.children.length > LINES_MAX) body.lastElementChild.remove();
}

function take(lines) {
  for (const line of lines) {
    if (line.kind === "missed") { traffic.missed += line.count; continue; }
    traffic.lines += 1;
    traffic.held.push(line);
  }
  // Held lines are bounded like shown ones.
  if (traffic.held.length > LINES_MAX) traffic.held.splice(0, traffic.held.length - LINES_MAX);
  if (!traffic.paused) show(traffic.held.splice(0));
  countTraffic();
}

async function follow() {
  const answer = await fetch("/_emulator/v1/tail", { headers: { Authorization: "Bearer " + token }, cache: "no-store" });
  if (!answer.ok) throw new Error("status " + answer.status);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    take(lines.filter(Boolean).map((line) => JSON.parse(line)));
  }
}

// Called once the control token is known to be right; goes on through restarts of the hub.
async function followForEver() {
  if (traffic.following) return;
  traffic.following = true;
  countTraffic();
  for (;;) {
    try { await follow(); } catch { /* The page's head says that the hub does not answer. */ }
    await new Promise((again) => setTimeout(again, AGAIN_AFTER_MS));
  }
}

for (const id of ["only-device", "only-kind", "only-text"]) {
  $(id).addEventListener("input", () => {
    for (const made of $("traffic").children) made.hidden = !wanted(made.line);
    countTraffic();
  });
}
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("pause").addEventListener("click", () => {
  traffic.paused = !traffic.paused;
  $("pause").setAttribute("aria-pressed", traffic.paused);
  take([]);
});
$("clear").addEventListener("click", () => { $("traffic").replaceChildren(); countTraffic(); });
