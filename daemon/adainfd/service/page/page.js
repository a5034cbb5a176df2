// Asks for the state once a second and shows it. Everything that comes from outside is put in as text.
"use strict";

const EVERY_MS = 1000;
const byId = (id) => document.getElementById(id);
const known = (value, show) => (value === null || value === undefined ? "–" : show(value));
const shown = new Map();

const way = ({ network, branch }) => (network ? `${network}/${branch}` : branch);

function pill(element, state) {
  element.textContent = state ?? "starting";
  const good = ["ready", "online"].includes(state);
  const bad = ["degraded", "stalled", "offline", "lost"].includes(state);
  element.classList.toggle("good", good);
  element.classList.toggle("bad", bad);
}

function article(name) {
  if (!shown.has(name)) {
    const made = byId("camera").content.firstElementChild.cloneNode(true);
    made.dataset.camera = name;
    made.querySelector(".name").textContent = name;
    byId("cameras").append(made);
    shown.set(name, made);
  }
  return shown.get(name);
}

function rows(list, pairs) {
  list.replaceChildren(...pairs.map((pair) => {
    const item = document.createElement("li");
    item.append(...pair.map((text) => {
      const cell = document.createElement("span");
      cell.textContent = text;
      return cell;
    }));
    return item;
  }));
}

function stateRow({ region, state, score, since }) {
  const surely = score === null ? "" : score.toFixed(2);
  const from = state === null ? "" : ` since ${new Date(1000 * since).toLocaleTimeString()}`;
  return [`${region ?? "state"}: ${state ?? "–"}`, surely + from];
}

function picture(image, camera) {
  if (!camera.picture) return;
  const next = new Image();
  next.onload = () => { image.src = next.src; image.hidden = false; image.alt = `last picture of ${camera.name}`; };
  next.src = `picture/${encodeURIComponent(camera.name)}?${Date.now()}`;
}

function showCamera(camera) {
  const part = (name) => article(camera.name).querySelector(`.${name}`);
  pill(part("state"), camera.state);
  part("detail").textContent = camera.detail ?? "";
  rows(part("states"), camera.states.map(stateRow));
  rows(part("labels"), (camera.labels ?? []).map(({ label, score }) => [label, score.toFixed(2)]));
  part("budget").querySelector("meter").value = camera.budget?.fraction ?? 0;
  part("budget-text").textContent = known(camera.budget, (b) => `${b.fraction.toFixed(2)} by ${b.limited_by}`);
  part("branch").textContent = known(camera.plan, (p) =>
    p.chosen_by === "reuse" ? "answer reused" : `${way(p)} · ${Math.round(100 * p.macs_fraction)} % of the compute`);
  part("rate").textContent = `${camera.frames_per_second.toFixed(1)} fps`;
  part("latency").textContent = known(camera.p95_ms, (ms) => `p95 ${ms.toFixed(0)} ms`);
  part("frames").textContent = known(camera.account, (a) => `${a.captured} · ${a.published} recognised · ${a.reused} reused`);
  const dropped = Object.entries(camera.account?.dropped ?? {}).filter(([, count]) => count > 0);
  part("dropped").textContent = dropped.map(([why, count]) => `${count} ${why.replaceAll("_", " ")}`).join(", ") || "0";
  picture(part("picture"), camera);
}

function show(state) {
  document.title = `${state.host ?? "adainf"} · adainf`;
  byId("host").textContent = state.host ?? "adainf";
  pill(byId("state"), state.hindrances.length ? "degraded" : state.state);
  byId("line").textContent = state.line;
  byId("trouble").textContent = state.reload_failure ? `The last reload failed; the policy before stays. ${state.reload_failure}` : "";
  byId("trouble").hidden = !state.reload_failure;
  byId("model").textContent = known(state.model, (m) => `${m.networks.length > 1 ? m.networks.join(", ") : m.backbone} on ${m.device} (${m.engine})`);
  state.cameras.forEach(showCamera);
}

async function update() {
  try {
    const answer = await fetch("state", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.json());
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
    pill(byId("state"), "lost");
    byId("line").textContent = "The daemon does not answer.";
  }
  setTimeout(update, EVERY_MS);
}

update();
