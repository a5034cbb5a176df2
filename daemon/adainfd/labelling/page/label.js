// Sorts pictures into classes by keys. Everything that comes from outside is put in as text.
"use strict";

const byId = (id) => document.getElementById(id);
const ORDERS = {
  doubt: (a, b) => b.doubt - a.doubt || (a.name < b.name ? -1 : 1),
  label: (a, b) => (a.label ?? "").localeCompare(b.label ?? "") || ORDERS.doubt(a, b),
  time: (a, b) => (a.name < b.name ? -1 : 1),
};
const shown = new Map(); // by name: the figure, which keeps its picture
let listed = { pictures: [], classes: [] };
let keyed = []; // the classes' names: each keeps its key while the page is open, and a new one comes last
let order = "doubt";
let current = 0;
let selected = new Set();
let busy = false;

// The token leaves the address bar, so that nobody reads it there, and outlives a reload.
if (location.hash.length > 1) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}

function say(text, wrong = false) {
  byId("said").textContent = text;
  byId("said").classList.toggle("wrong", wrong);
}

async function ask(path, body = {}) {
  const token = sessionStorage.getItem("token") ?? "";
  const answer = await fetch(path, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (answer.status === 403) throw new Error("Open this page by the address that the command has printed.");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer;
}

const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    nearby.unobserve(entry.target);
    load(entry.target);
  }
}, { rootMargin: "50%" });

async function load(figure) {
  try {
    const answer = await ask("picture", { name: figure.dataset.name });
    figure.firstElementChild.src = URL.createObjectURL(await answer.blob());
  } catch (error) {
    say(error.message, true);
  }
}

function figureOf(picture) {
  if (shown.has(picture.name)) return shown.get(picture.name);
  const figure = document.createElement("figure");
  figure.dataset.name = picture.name;
  figure.setAttribute("role", "option");
  const image = document.createElement("img");
  image.alt = picture.name;
  const caption = document.createElement("figcaption");
  const score = picture.score === null ? "" : picture.score.toFixed(2);
  for (const text of [picture.label ?? picture.name, picture.reason ?? "", score]) {
    const cell = document.createElement("span");
    cell.textContent = text;
    if (text === "unknown" || text === "unsure") cell.className = text;
    caption.append(cell);
  }
  figure.append(image, caption);
  figure.addEventListener("click", (event) => {
    const here = pictures().findIndex(({ name }) => name === picture.name);
    if (event.shiftKey) range(current, here).forEach(({ name }) => selected.add(name));
    else toggle(picture.name);
    current = here;
    mark();
  });
  shown.set(picture.name, figure);
  nearby.observe(figure);
  return figure;
}

const pictures = () => listed.pictures;
const range = (from, to) => pictures().slice(Math.min(from, to), Math.max(from, to) + 1);
const toggle = (name) => (selected.has(name) ? selected.delete(name) : selected.add(name));

function take(answer) {
  listed = answer;
  listed.pictures.sort(ORDERS[order]);
  const names = new Set(pictures().map(({ name }) => name));
  selected = new Set([...selected].filter((name) => names.has(name)));
  for (const [name, figure] of shown) {
    if (names.has(name)) continue;
    URL.revokeObjectURL(figure.firstElementChild.src);
    shown.delete(name);
  }
  current = Math.max(0, Math.min(current, pictures().length - 1));
  byId("folder").textContent = listed.folder;
  byId("pictures").replaceChildren(...pictures().map(figureOf));
  const counts = new Map(listed.classes.map(({ name, pictures: count }) => [name, count]));
  keyed = [...new Set([...keyed, ...counts.keys()])];
  const offered = keyed.map((name, number) => [number < 9 ? String(number + 1) : "", name, counts.get(name) ?? 0]);
  offered.push(["0", listed.unknown.name, listed.unknown.pictures]);
  byId("classes").replaceChildren(...offered.map(([key, name, count]) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const hint = document.createElement("kbd");
    hint.textContent = key;
    button.append(...(key ? [hint, " "] : []), `${name}: ${count}`);
    button.addEventListener("click", () => move(name));
    item.append(button);
    return item;
  }));
  mark();
}

function mark() {
  pictures().forEach(({ name }, number) => {
    const figure = shown.get(name);
    figure.classList.toggle("current", number === current);
    figure.classList.toggle("selected", selected.has(name));
    figure.setAttribute("aria-selected", String(selected.has(name)));
  });
  const some = selected.size ? `, ${selected.size} selected` : "";
  byId("count").textContent = pictures().length ? `${pictures().length} unsorted${some}` : "Nothing is left to sort.";
  byId("order").textContent = order;
}

// The selected pictures, or else the current one.
const meant = () => (selected.size ? [...selected] : pictures().slice(current, current + 1).map(({ name }) => name));

async function act(path, body, done) {
  if (busy || !body.names.length) return;
  busy = true;
  try {
    take(await (await ask(path, body)).json());
    say(done);
  } catch (error) {
    say(error.message, true);
    await list(); // a picture that made room for a newer one is gone
  } finally {
    busy = false;
  }
}

async function list() {
  try {
    take(await (await ask("listing")).json());
  } catch (error) {
    say(error.message, true);
  }
}

const move = (into) => act("move", { names: meant(), into }, `Into ${into}: ${meant().length}`);
const drop = () => act("drop", { names: meant() }, `Removed: ${meant().length}`);

function go(step, extend) {
  const from = current;
  current = Math.max(0, Math.min(current + step, pictures().length - 1));
  if (extend) range(from, current).forEach(({ name }) => selected.add(name));
  mark();
  shown.get(pictures()[current]?.name)?.scrollIntoView({ block: "nearest" });
}

function columns() {
  const figures = [...byId("pictures").children];
  const below = figures.findIndex((figure) => figure.offsetTop > figures[0].offsetTop);
  return below > 0 ? below : Math.max(1, figures.length);
}

function sort() {
  const names = Object.keys(ORDERS);
  order = names[(names.indexOf(order) + 1) % names.length];
  take(listed);
}

const KEYS = {
  ArrowLeft: (event) => go(-1, event.shiftKey),
  ArrowRight: (event) => go(1, event.shiftKey),
  ArrowUp: (event) => go(-columns(), event.shiftKey),
  ArrowDown: (event) => go(columns(), event.shiftKey),
  " ": () => { if (pictures().length) toggle(pictures()[current].name); mark(); },
  Escape: () => { selected.clear(); mark(); },
  a: () => { pictures().forEach(({ name }) => selected.add(name)); mark(); },
  l: () => {
    const label = pictures()[current]?.label;
    pictures().filter((picture) => picture.label === label).forEach(({ name }) => selected.add(name));
    mark();
  },
  n: () => { const name = prompt("Name of the new class"); if (name) move(name.trim()); },
  x: drop,
  Delete: drop,
  s: sort,
  0: () => move(listed.unknown.name),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const one = /^[1-9]$/.test(event.key) ? keyed[Number(event.key) - 1] : undefined;
  const action = one ? () => move(one) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(event);
});

list();
