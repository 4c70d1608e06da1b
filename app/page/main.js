// The frame around the views: which one is shown, the address, the collection, messages.
import {link, read, write} from "./address.js";
import {listCollections} from "./api.js";
import {number} from "./dom.js";
import {askForKey, key} from "./key.js";
import {bringsFiles} from "./pictures.js";
import * as search from "./search.js";

const VIEWS = {
  search: async () => search, // what most come for is not fetched a second later
  collections: () => import("./collections.js"),
  add: () => import("./add.js"),
  quality: () => import("./quality.js"),
  generations: () => import("./generations.js"),
  models: () => import("./models.js"),
};
const $ = (id) => document.getElementById(id);
let shown = {leave() {}};
const SAID_MS = 6000;
let run = 0;
let fading = 0;

const app = {
  state: read(location.search, history.state),

  // Change the state and show it; with `replace` the way back does not lead over what was.
  go(changes, {replace = false} = {}) {
    keepPlace();
    Object.assign(app.state, changes);
    history[replace ? "replaceState" : "pushState"]({picture: app.state.picture}, "", write(app.state));
    return show();
  },

  // The state has changed without anything else to be shown.
  keep() {
    history.replaceState(history.state, "", write(app.state));
  },

  say(text, wrong = false) {
    $("status").textContent = text;
    $("status").classList.toggle("wrong", wrong);
    clearTimeout(fading);
    if (text && !wrong) fading = setTimeout(() => app.say(""), SAID_MS);
  },

  async refreshCollections() {
    const collections = await listCollections().catch(() => []);
    const names = new Set(collections.map(({name}) => name));
    const unknown = names.has(app.state.collection) ? [] : [new Option(app.state.collection, app.state.collection)];
    $("collection").replaceChildren(...unknown, ...collections.map(({name, items}) => new Option(`${name} (${number(items)})`, name)));
    $("collection").value = app.state.collection;
    $("key").hidden = !key();
    return collections;
  },
};

async function show(place = {}) {
  const current = ++run;
  const name = VIEWS[app.state.view] ? app.state.view : "search";
  mark(name);
  const view = await VIEWS[name]();
  if (current !== run) return; // another was asked for meanwhile
  if (shown.view === view && view.update) return void view.update(app, place);
  shown.leave();
  app.say("");
  const content = document.createElement("div");
  content.className = `view ${name}`;
  shown = {view, leave: () => {}};
  $("view").replaceChildren(content);
  document.title = name === "search" ? "Sightline" : `${name[0].toUpperCase()}${name.slice(1)} · Sightline`;
  try {
    const leave = (await view.show(app, content, place)) || (() => {});
    if (current === run) shown.leave = leave;
    else leave();
  } catch (error) {
    if (current === run) app.say(error.message, true);
  }
  if (name !== "search") scrollTo({top: place.y || 0}); // a gallery is not long enough yet, and does it itself
  if (document.activeElement === document.body) $("view").focus({preventScroll: true}); // what had the focus is gone
}

function mark(name) {
  const {collection} = app.state;
  for (const anchor of document.querySelectorAll("nav a")) {
    anchor.href = link({view: anchor.dataset.view, collection});
    if (anchor.dataset.view === name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const current = document.querySelector("nav [aria-current]");
  current.parentElement.scrollLeft = current.offsetLeft - current.parentElement.offsetLeft - 40; // on a phone it may be out of sight
  $("collection").value = collection;
}

// So that the way back leads to where one was.
function keepPlace() {
  history.replaceState({...history.state, y: scrollY, count: document.querySelectorAll(".gallery > .card:not(.skeleton)").length}, "");
}

function follow(event) {
  const anchor = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!anchor || !plain || anchor.target || anchor.hash || anchor.origin !== location.origin || anchor.pathname !== "/") return;
  event.preventDefault();
  document.querySelector("dialog[open]")?.close();
  app.go(read(anchor.search));
  scrollTo({top: 0});
}

history.scrollRestoration = "manual";
addEventListener("click", follow);
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => bringsFiles(event) && event.preventDefault()); // else the browser opens it
addEventListener("pagehide", keepPlace);
addEventListener("popstate", (event) => {
  document.querySelector("dialog[open]")?.close();
  Object.assign(app.state, read(location.search, event.state));
  show(event.state || {});
});
$("collection").addEventListener("change", (event) =>
  app.go({collection: event.target.value, item: "", filter: {}, terms: app.state.terms.filter(({text}) => text), left: "", right: ""}));
$("key").addEventListener("click", async () => {
  if (await askForKey("Another key for this tab.")) begin();
});

// A key may be for other collections than the one that is shown where none is named.
async function begin() {
  show(history.state || {});
  const names = (await app.refreshCollections()).map(({name}) => name);
  if (names.length && !names.includes(app.state.collection) && !new URLSearchParams(location.search).has("c")) app.go({collection: names[0]}, {replace: true});
}
begin();
