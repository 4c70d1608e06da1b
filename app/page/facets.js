// Filters over the metadata, as chips: which fields there are, what values they have, how many items each.
import {browse, searchBatch} from "./api.js";
import {button, make, number} from "./dom.js";

const LOOKED_AT = 100;
const MOST_FIELDS = 6;
const LONGEST = 40;
const NO_FACETS = new Set(["image", "file", "split", "url"]);
const NAME = /^[^.$][^.]{0,99}$/; // others no filter can name, or only as a path
const ANYTHING = "item"; // facets count what a filter matches, whatever is searched for

const known = new Map(); // fields by collection
const counted = new Map(); // counts by collection and filter

export const titleOf = (name) => name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());

export function makeFacets(app) {
  const node = make("div", {class: "facets", role: "group", "aria-label": "Filters"});
  let run = 0;
  const show = async ({collection, filter}) => {
    const current = ++run;
    try {
      const fields = await fieldsOf(collection);
      const counts = await countsOf(collection, filter, fields);
      if (current === run) draw(app, node, fields, counts);
    } catch (error) {
      if (current === run) app.say(error.message, true);
    }
  };
  const away = (event) => node.querySelectorAll("details[open]").forEach((menu) => menu.contains(event.target) || menu.removeAttribute("open"));
  node.addEventListener("focusout", ({relatedTarget: to}) => to && !to.contains(node) && away({target: to})); // a click on no control focuses what is around it
  document.addEventListener("pointerdown", away);
  node.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest("details[open]");
    if (menu) { menu.removeAttribute("open"); menu.querySelector("summary").focus(); }
  });
  return {node, show, stop: () => document.removeEventListener("pointerdown", away)};
}

// Fields worth filtering by, judged by the first items of a collection.
async function fieldsOf(collection) {
  if (!known.has(collection)) {
    const {items} = await browse(collection, {limit: LOOKED_AT});
    const values = new Map();
    for (const {metadata} of items)
      for (const [name, value] of Object.entries(metadata)) values.set(name, [...(values.get(name) || []), ...[value].flat().filter((one) => one !== null)]);
    const fields = [...values].filter(([name]) => !NO_FACETS.has(name) && NAME.test(name)).map(([name, all]) => ({name, kind: kindOf(all)}));
    if (!items.length) return [];
    known.set(collection, fields.filter(({kind}) => kind).slice(0, MOST_FIELDS));
  }
  return known.get(collection);
}

function kindOf(values) {
  if (!values.length) return null;
  if (values.every((value) => typeof value === "number")) return "range";
  const plain = values.every((value) => typeof value !== "object" && String(value).length <= LONGEST);
  return plain && new Set(values).size <= Math.max(2, 0.6 * values.length) ? "values" : null;
}

// Each filtered field is counted without its own filter: its other values could be chosen, too.
async function countsOf(collection, filter, fields) {
  const named = fields.filter(({kind}) => kind === "values").map(({name}) => name);
  const id = JSON.stringify([collection, filter]);
  if (!counted.has(id) && named.length) {
    const own = named.filter((name) => name in filter);
    const free = named.filter((name) => !(name in filter));
    const asked = [[free, filter], ...own.map((name) => [[name], without(filter, name)])].filter(([names]) => names.length);
    const results = await searchBatch(collection, asked.map(([facets, rest]) => ({query: ANYTHING, limit: 1, include: [], facets, filter: rest})));
    const problem = results.find((result) => result.problem)?.problem;
    if (problem) throw new Error(problem.detail);
    counted.set(id, Object.assign({}, ...results.map((result) => result.facets)));
  }
  return counted.get(id) || {};
}

// Counts change when items are written.
export const forgetCounts = () => { counted.clear(); known.clear(); };

const without = (filter, name) => Object.fromEntries(Object.entries(filter).filter(([key]) => key !== name));

function draw(app, node, fields, counts) {
  const {filter} = app.state;
  const open = node.querySelector("details[open]")?.dataset.field;
  const focused = node.contains(document.activeElement) && document.activeElement.dataset?.key;
  const set = (name, condition) => app.go({filter: condition ? {...filter, [name]: condition} : without(filter, name)});
  const menus = fields.map(({name, kind}) => {
    const inside = kind === "range" ? range(name, filter[name], set) : values(name, filter[name], counts[name] || [], set);
    return make("details", {class: `menu${name in filter ? " set" : ""}`, "data-field": name, open: name === open}, make("summary", {}, titleOf(name)), inside);
  });
  const chosen = Object.entries(filter).flatMap(([name, condition]) => chips(name, condition, set));
  const clear = chosen.length > 1 ? [button("Clear all", () => app.go({filter: {}}), "link")] : [];
  node.replaceChildren(...menus, ...chosen, ...clear);
  if (focused) [...node.querySelectorAll("[data-key]")].find((element) => element.dataset.key === focused)?.focus();
}

function values(name, condition, found, set) {
  const chosen = condition?.$in || [];
  const all = [...found, ...chosen.filter((value) => !found.some((one) => one.value === value)).map((value) => ({value, count: 0}))];
  const toggle = (value) => {
    const next = chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value];
    set(name, next.length ? {$in: next} : null);
  };
  return make("div", {class: "sheet", role: "group", "aria-label": titleOf(name)}, all.map(({value, count}) => make("label", {},
    make("input", {type: "checkbox", checked: chosen.includes(value), "data-key": `${name}=${value}`, onchange: () => toggle(value)}),
    make("span", {}, String(value)), make("span", {class: "count"}, number(count)))));
}

function range(name, condition, set) {
  const [low, high] = ["$gte", "$lte"].map((bound) => make("input", {type: "number", step: "any", value: condition?.[bound] ?? ""}));
  const submit = (event) => {
    event.preventDefault();
    event.target.closest("details").open = false;
    const bounds = {...(low.value !== "" && {$gte: Number(low.value)}), ...(high.value !== "" && {$lte: Number(high.value)})};
    set(name, Object.keys(bounds).length ? bounds : null);
  };
  const labelled = (text, input) => make("label", {}, make("span", {}, text), input);
  return make("form", {class: "sheet range", onsubmit: submit}, labelled("From", low), labelled("To", high), make("button", {class: "primary"}, "Apply"));
}

function chips(name, condition, set) {
  const chip = (text, onclick) => make("span", {class: "chip set"}, text, make("button", {type: "button", "aria-label": `Remove the filter ${text}`, onclick}, "×"));
  if (Array.isArray(condition?.$in))
    return condition.$in.map((value) => chip(String(value), () => {
      const rest = condition.$in.filter((one) => one !== value);
      set(name, rest.length ? {$in: rest} : null);
    }));
  const bounds = [condition?.$gte !== undefined && `from ${condition.$gte}`, condition?.$lte !== undefined && `to ${condition.$lte}`].filter(Boolean);
  return [chip(`${titleOf(name)} ${bounds.join(" ") || JSON.stringify(condition)}`, () => set(name, null))];
}
