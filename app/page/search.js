// The search: what is looked for, its filters, and the gallery of what was found.
import {blank, queryOf} from "./address.js";
import {browse, search} from "./api.js";
import {makeDetail} from "./detail.js";
import {button, icon, make, number, select, several} from "./dom.js";
import {makeFacets} from "./facets.js";
import {makeGallery} from "./gallery.js";
import {bringsFiles, isPicture, toDataUri} from "./pictures.js";
import {makeTerms} from "./terms.js";

const EXAMPLES = ["red dress", "striped shirt", "black shoes", "leather bag", "sunglasses"];
const MODES = [["vector", "By meaning"], ["lexical", "By words"], ["hybrid", "By meaning and words"]];
const CAMERA = "M4 7h3l2-3h6l2 3h3a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1zM8 13a4 4 0 1 0 8 0a4 4 0 1 0-8 0";
const VARIED = {diversity: 0.4};
const UNIQUE = {collapse_duplicates: 0.98};
const MOST_UNIQUE = 1000; // of limit + offset, when duplicates are left out

let parts = null;

export function show(app, content, place) {
  parts = build(app);
  content.append(...parts.content);
  const stop = listen(app);
  update(app, place);
  return () => { stop(); parts.gallery.stop(); parts.facets.stop(); parts = null; };
}

export function update(app, {count = 0, y = 0} = {}) {
  const {state} = app;
  const looking = queryOf(state).length > 0;
  parts.input.value = state.text;
  parts.picture.hidden = !state.picture;
  if (state.picture) parts.picture.querySelector("img").src = state.picture;
  parts.mode.value = state.mode;
  parts.varied.checked = Boolean(state.varied);
  parts.unique.checked = Boolean(state.unique);
  parts.options.hidden = parts.refine.hidden = !looking;
  parts.examples.hidden = looking;
  parts.terms.show(state);
  const first = parts.gallery.start({fetchPage: pages(app, looking), least: count, query: looking ? queryOf(state) : null, collection: state.collection});
  first.then((there) => {
    if (!there) return;
    if (y) scrollTo({top: y});
    parts.facets.show(state); // counts never wait in front of results
  });
}

// Gives the pages of a search, or of the collection, one after the other.
function pages(app, looking) {
  const state = {...app.state};
  let [cursor, generation] = [null, undefined];
  const found = async (limit, offset, signal) => {
    const last = state.unique ? MOST_UNIQUE : 10_000;
    const answer = await search(state.collection, {...bodyOf(state), limit: Math.min(limit, last - offset), offset, generation}, signal);
    generation = answer.generation; // so that all pages are by one model
    const next = offset + answer.hits.length;
    return {hits: answer.hits, more: answer.hits.length === limit && next < Math.min(answer.total, last), summary: describe(state, answer)};
  };
  const listed = async (limit, offset, signal) => {
    const answer = await browse(state.collection, {limit, cursor, filter: filterOf(state)}, signal);
    cursor = answer.next_cursor;
    return {hits: answer.items, more: Boolean(cursor), summary: answer.items.length ? "" : nothing(state)};
  };
  return looking ? found : listed;
}

const filterOf = ({filter}) => (Object.keys(filter).length ? filter : undefined);

function bodyOf(state) {
  return {query: queryOf(state), filter: filterOf(state), mode: state.mode, include: ["text", "metadata", "explain"],
    ...(state.varied && VARIED), ...(state.unique && UNIQUE)};
}

const nothing = (state) => (filterOf(state) ? "No item matches these filters." : "This collection is empty. Fill it under Add.");

function describe(state, answer) {
  const what = [state.text && `“${state.text}”`, state.picture && "the picture", state.item && `more like ${state.item}`].filter(Boolean).join(" and ");
  if (!answer.hits.length) return `Nothing found${what && ` for ${what}`}.`;
  const cut = answer.truncated ? " The text was longer than the model reads and was cut." : "";
  return `${several(answer.total, "item")}, best first${what && ` for ${what}`}, in ${number(Math.ceil(answer.took_ms.total))} ms.${cut}`;
}

function build(app) {
  const find = (changes) => app.go({...changes});
  const input = make("input", {id: "query", type: "search", autocomplete: "off", spellcheck: false, "aria-label": "Search by text",
    placeholder: "Describe it, or drop a picture"});
  const file = make("input", {id: "file", type: "file", accept: "image/*", "aria-label": "Search by a picture", onchange: () => findPicture(app, file.files[0])});
  const picture = make("div", {class: "picture", hidden: true}, make("img", {alt: "Picture to search by"}),
    make("button", {type: "button", class: "remove", "aria-label": "Remove the picture", onclick: () => find({picture: null})}, "×"));
  const box = make("div", {class: "box"}, picture, input,
    make("label", {class: "pick", title: "Search by a picture"}, file, icon(CAMERA)), make("button", {class: "primary"}, "Search"));
  const examples = make("p", {class: "examples"}, EXAMPLES.map((text) => button(text, () => find({text}), "chip")));
  const terms = makeTerms(app);
  const form = make("form", {class: "search-form", role: "search", onsubmit: (event) => {
    event.preventDefault();
    find({text: input.value.trim(), item: ""});
  }}, box, examples);
  const facets = makeFacets(app);
  const [mode, options, varied, unique] = buildOptions(find);
  const summary = make("p", {class: "summary", role: "status"});
  const detail = makeDetail(app);
  const gallery = makeGallery(app, {summary, open: detail.open});
  return {input, file, picture, examples, terms, refine: terms.node, mode, varied, unique, options, facets, gallery,
    content: [make("h1", {class: "hidden"}, "Search"), form, terms.node,
      make("div", {class: "tools"}, facets.node, options), summary, ...gallery.nodes, detail.node,
      make("div", {class: "drop", "aria-hidden": "true"}, "Drop the picture to search by it")]};
}

function buildOptions(find) {
  const mode = select(MODES, "vector", {"aria-label": "How items are matched", onchange: () => find({mode: mode.value})});
  const flag = (text, name) => {
    const box = make("input", {type: "checkbox", onchange: () => find({[name]: box.checked ? "1" : ""})});
    return [box, make("label", {class: "flag"}, box, text)];
  };
  const [varied, variedLabel] = flag("Varied", "varied");
  const [unique, uniqueLabel] = flag("No near duplicates", "unique");
  return [mode, make("div", {class: "options"}, mode, variedLabel, uniqueLabel), varied, unique];
}

async function findPicture(app, file) {
  if (!file) return;
  try {
    app.go({picture: await toDataUri(file), item: ""});
  } catch (error) {
    app.say(error.message, true);
  }
}

function listen(app) {
  const stopping = new AbortController();
  const on = (name, listener) => addEventListener(name, listener, {signal: stopping.signal});
  const drag = (dragging) => document.body.classList.toggle("dragging", dragging);
  on("paste", (event) => findPicture(app, [...event.clipboardData.files].find(isPicture)));
  on("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea") || document.querySelector("dialog[open]");
    if (event.key === "/" && !typing) { event.preventDefault(); parts.input.focus(); }
    if (event.key === "Escape" && event.target === parts.input) app.go({...blank(), collection: app.state.collection});
  });
  on("dragover", (event) => bringsFiles(event) && drag(true));
  on("dragleave", (event) => event.relatedTarget || drag(false));
  on("drop", (event) => { drag(false); findPicture(app, event.dataTransfer.files[0]); });
  return () => { stopping.abort(); drag(false); };
}
