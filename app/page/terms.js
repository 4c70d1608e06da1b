// More of this, less of that: the weighted terms beside the query, as chips.
import {button, make} from "./dom.js";

const STEP = 0.25;
const FIRST = 0.5;
const MOST = 2;

export function makeTerms(app) {
  const chips = make("ul", {class: "chips terms", "aria-label": "Weighted terms"});
  const input = make("input", {type: "text", "aria-label": "A term to weigh", placeholder: "stripes, long sleeves …", autocomplete: "off"});
  const add = (weight) => () => {
    const text = input.value.trim();
    if (!text) return void input.focus();
    input.value = "";
    app.go({terms: [...app.state.terms, {text, weight}]});
  };
  const form = make("form", {class: "refine", onsubmit: (event) => { event.preventDefault(); add(FIRST)(); }},
    input, make("button", {class: "plain"}, "More of"), button("Less of", add(-FIRST)));
  const show = ({terms, item}) => {
    const focused = chips.contains(document.activeElement) && document.activeElement.ariaLabel;
    chips.replaceChildren(...(item ? [seed(app, item)] : []), ...terms.map((term, index) => chip(app, term, index)));
    if (focused) ([...chips.querySelectorAll("button")].find(({ariaLabel}) => ariaLabel === focused) || input).focus();
  };
  return {node: make("div", {class: "weighing"}, chips, form), show};
}

// Terms with one of them changed, or without it where its weight became 0.
const changed = (terms, index, weight) => terms.map((term, at) => (at === index ? {...term, weight} : term)).filter((term) => term.weight);

function chip(app, {text, item, weight}, index) {
  const {terms} = app.state;
  const what = text || item;
  const step = (by) => {
    const next = Math.max(-MOST, Math.min(MOST, weight + by));
    return () => app.go({terms: changed(terms, index, next || by)}); // over 0 it turns to the other side
  };
  const side = weight > 0 ? "more" : "less";
  const tool = (sign, name, onclick) => make("button", {type: "button", "aria-label": `${name} ${what}`, onclick}, sign);
  return make("li", {class: `chip ${side}`}, make("span", {}, `${weight > 0 ? "More" : "Less"} ${item ? "like" : "of"} `, make("b", {}, what)),
    tool("−", "Less of", step(-STEP)), make("span", {class: "weight"}, Math.abs(weight).toFixed(2)), tool("+", "More of", step(STEP)),
    tool("×", "Remove", () => app.go({terms: changed(terms, index, 0)})));
}

const seed = (app, item) => make("li", {class: "chip more"}, make("span", {}, "More like ", make("b", {}, item)),
  make("button", {type: "button", "aria-label": `Remove ${item}`, onclick: () => app.go({item: ""})}, "×"));
