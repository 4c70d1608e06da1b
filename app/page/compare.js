// What two generations find for one query, side by side, with the figures of the report.
import {search} from "./api.js";
import {make, number, scrolling, select} from "./dom.js";
import {meter, nameOf, pictureOf} from "./gallery.js";

const HITS = 12;
const FIGURES = [["self_retrieval", "Finds itself"], ["alignment", "Alignment"], ["recall_at_10", "Recall@10"], ["modality_gap", "Modality gap"]];

// `generations` answer searches, two at least.
export function makeComparison(app, generations, reports) {
  const {state} = app;
  const names = generations.map(({number: of, model}) => [String(of), `${of}: ${model}`]);
  const known = (value, other) => (names.some(([of]) => of === value) ? value : other);
  const query = make("input", {type: "search", value: state.text, "aria-label": "What both look for", placeholder: "What shall both look for?"});
  const [left, right] = [["left", names.at(-2)[0]], ["right", names.at(-1)[0]]].map(([side, other]) => select(names, known(state[side], other), {"aria-label": `Generation on the ${side}`}));
  const figures = scrolling("Figures");
  const columns = make("div", {class: "sides"});
  const overlap = make("p", {class: "summary", role: "status"});
  const run = async () => {
    figures.replaceChildren(...figuresOf(reports, Number(left.value), Number(right.value)));
    if (!query.value.trim()) return;
    try {
      const found = await Promise.all([left, right].map((side) => search(state.collection, {query: query.value.trim(), limit: HITS, generation: Number(side.value)})));
      const [one, other] = found.map(({hits}) => hits);
      const both = new Set(one.map(({id}) => id).filter((id) => other.some((hit) => hit.id === id)));
      overlap.textContent = `${number(both.size)} of ${Math.max(one.length, other.length)} are found by both.`;
      columns.replaceChildren(...[[left, one], [right, other]].map(([side, hits]) => gallery(side.selectedOptions[0].text, hits, both)));
    } catch (error) {
      app.say(error.message, true);
    }
  };
  const submit = (event) => {
    event?.preventDefault();
    Object.assign(state, {text: query.value.trim(), left: left.value, right: right.value});
    app.keep();
    run();
  };
  [left, right].forEach((side) => side.addEventListener("change", submit));
  run();
  return [make("form", {class: "comparing", role: "search", onsubmit: submit}, left, right, query, make("button", {class: "primary"}, "Compare")), figures, overlap, columns];
}

function gallery(title, hits, both) {
  const item = (hit) => make("li", {class: both.has(hit.id) ? "small" : "small alone"}, make("div", {class: "tile"}, pictureOf(hit, 256)),
    make("span", {class: "title"}, nameOf(hit)), meter(hit.score / Math.max(0.001, hits[0].score)),
    make("span", {class: "score"}, `${hit.score.toFixed(3)}${both.has(hit.id) ? "" : " · only here"}`));
  return make("section", {class: "side", "aria-label": title}, make("h3", {}, title), make("ol", {}, hits.map(item)));
}

// The latest report on these two, whichever of them was active then.
function figuresOf(reports, left, right) {
  const report = reports.find(({active, candidate}) => [active, candidate].every(({generation}) => generation === left || generation === right) && left !== right);
  if (!report) return [];
  const sides = [left, right].map((wanted) => [report.active, report.candidate].find(({generation}) => generation === wanted));
  const row = ([key, title]) => make("tr", {}, make("th", {scope: "row"}, title), sides.map((side) => make("td", {}, side[key] === null || side[key] === undefined ? "–" : side[key].toFixed(3))));
  const shared = report.overlap_at_10?.toFixed(3);
  return [make("table", {class: "figures"}, make("caption", {}, `The report of the job that filled it${shared ? `; overlap@10 ${shared}` : ""}`),
    make("thead", {}, make("tr", {}, make("td"), sides.map(({generation}) => make("th", {scope: "col"}, `Generation ${generation}`)))),
    make("tbody", {}, FIGURES.filter(([key]) => sides.some((side) => side[key] !== undefined)).map(row)))];
}
