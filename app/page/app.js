// The page's state is one query (text, picture, or "like this item") or the quality view; what can be linked stands in
// the address.
import {browse, explain, listCollections, search, toDataUri} from "./api.js";
import {appendCards, showDetail} from "./gallery.js";
import {makeQuality} from "./quality.js";

const PAGE = 24;
const EXAMPLES = ["red dress", "striped shirt", "black shoes", "leather bag", "sunglasses"];

const $ = (id) => document.getElementById(id);
const state = {view: null, collection: "default", text: "", picture: null, item: null, shown: 0, cursor: null, run: 0};

function query() {
  if (state.item) return {item: state.item};
  if (state.picture && state.text) return [{image: state.picture}, {text: state.text}];
  return state.picture ? {image: state.picture} : state.text;
}

function readAddress() {
  const parameters = new URLSearchParams(location.search);
  Object.assign(state, {
    view: parameters.get("view"),
    collection: parameters.get("c") || "default",
    text: parameters.get("q") || "",
    item: parameters.get("item"),
    picture: null,
  });
}

function writeAddress() {
  const parameters = new URLSearchParams();
  if (state.collection !== "default") parameters.set("c", state.collection);
  if (state.text) parameters.set("q", state.text);
  if (state.item) parameters.set("item", state.item);
  if (state.view) parameters.set("view", state.view);
  history.pushState(null, "", parameters.size ? `?${parameters}` : location.pathname);
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function describe(answer) {
  const what = state.item ? `like ${state.item}` : state.picture ? "by picture" : `for “${state.text}”`;
  if (!answer.hits.length) return `Nothing found ${what}.`;
  const cut = answer.truncated ? " The text was longer than the model reads and was cut." : "";
  return `Best of ${answer.total.toLocaleString()} items ${what}, in ${answer.took_ms.total.toFixed(0)} ms.${cut}`;
}

async function load(more = false) {
  const run = ++state.run;
  const gallery = $("gallery");
  gallery.classList.add("busy");
  try {
    const wanted = query();
    const page = wanted
      ? await searchPage(wanted, more ? state.shown : 0)
      : await browsePage(more ? state.cursor : null);
    if (run !== state.run) return; // a later query was faster
    if (!more) gallery.replaceChildren();
    state.shown = (more ? state.shown : 0) + page.hits.length;
    appendCards(gallery, page.hits, {open: (hit) => openDetail(hit, wanted), like: findLike});
    $("more").hidden = !page.more;
    say(page.status);
  } catch (error) {
    if (run !== state.run) return;
    if (!more) gallery.replaceChildren();
    $("more").hidden = true;
    say(error.message, true);
  } finally {
    if (run === state.run) gallery.classList.remove("busy");
  }
}

function openDetail(hit, wanted) {
  const {collection} = state;
  showDetail($("detail"), hit, {like: findLike, where: wanted && (() => explain(collection, hit.id, wanted))});
}

async function loadQuality() {
  const run = ++state.run;
  say("Looking at all vectors …");
  try {
    const view = await makeQuality(state.collection);
    if (run !== state.run) return; // something else was asked for meanwhile
    $("quality").replaceChildren(...view);
    say("");
  } catch (error) {
    if (run === state.run) say(error.message, true);
  }
}

async function searchPage(wanted, offset) {
  const answer = await search(state.collection, wanted, PAGE, offset);
  const more = answer.hits.length === PAGE && offset + PAGE < answer.total;
  return {hits: answer.hits, more, status: describe(answer)};
}

async function browsePage(cursor) {
  const answer = await browse(state.collection, PAGE, cursor);
  state.cursor = answer.next_cursor;
  const hits = answer.items;
  return {hits, more: Boolean(state.cursor), status: hits.length ? "" : "This collection is empty. Fill it with: sightline ingest FILE"};
}

function show() {
  const judging = state.view === "quality";
  $("search").hidden = $("gallery").hidden = judging;
  $("quality").hidden = !judging;
  $("to-quality").href = `/?${new URLSearchParams({...(state.collection === "default" ? {} : {c: state.collection}), view: "quality"})}`;
  $("to-quality").setAttribute("aria-current", judging ? "page" : "false");
  $("quality").replaceChildren();
  if (judging) {
    $("gallery").replaceChildren();
    $("more").hidden = true;
    loadQuality();
    return;
  }
  $("query").value = state.text;
  $("picture").hidden = !state.picture;
  if (state.picture) $("picture").querySelector("img").src = state.picture;
  load();
}

function find(changes) {
  Object.assign(state, {item: null}, changes);
  writeAddress();
  show();
}

function findLike(hit) {
  $("detail").close();
  find({item: hit.id, text: "", picture: null});
  scrollTo({top: 0});
}

async function findPicture(file) {
  try {
    find({picture: await toDataUri(file), view: null});
  } catch (error) {
    say(error.message, true);
  }
}

async function fillCollections() {
  const collections = await listCollections().catch(() => []);
  $("collection").replaceChildren(...collections.map(({name, items}) => new Option(`${name} (${items.toLocaleString()})`, name)));
  $("collection").value = state.collection;
  $("collection").closest("label").hidden = collections.length < 2;
}

function listen() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    find({text: $("query").value.trim()});
  });
  $("file").addEventListener("change", (event) => event.target.files[0] && findPicture(event.target.files[0]));
  $("picture").querySelector("button").addEventListener("click", () => find({picture: null}));
  $("more").addEventListener("click", () => load(true));
  $("collection").addEventListener("change", (event) => find({collection: event.target.value}));
  $("detail").querySelector(".close").addEventListener("click", () => $("detail").close());
  addEventListener("popstate", () => { readAddress(); show(); });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({type}) => type.startsWith("image/"));
    if (file) findPicture(file);
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select");
    if (event.key === "/" && !typing && !state.view) { event.preventDefault(); $("query").focus(); }
    if (event.key === "Escape" && event.target === $("query")) find({text: "", picture: null});
    if (event.key === "Enter" && event.target.matches(".pick")) $("file").click();
  });
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer.files[0]) findPicture(event.dataTransfer.files[0]);
  });
}

function offerExamples() {
  $("examples").append(...EXAMPLES.map((text) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => find({text, picture: null}));
    return button;
  }));
}

readAddress();
listen();
offerExamples();
fillCollections();
show();
