// One item close up: its picture, why it matched, what is known of it.
import {blank} from "./address.js";
import {explain} from "./api.js";
import {button, make, number} from "./dom.js";
import {titleOf} from "./facets.js";
import {meter, nameOf} from "./gallery.js";
import {showPicture} from "./pictures.js";

const SIGNALS = {image: "Picture", text: "Text", lexical: "Words"};

export function makeDetail(app) {
  const node = make("dialog", {class: "detail", "aria-labelledby": "detail-title"});
  node.addEventListener("click", (event) => event.target === node && node.close()); // beside it
  const open = (hit, query) => {
    node.replaceChildren(...content(app, node, hit, query));
    node.showModal();
  };
  return {node, open};
}

function content(app, node, hit, query) {
  const go = (changes) => { node.close(); app.go(changes); };
  const picture = make("img", {alt: nameOf(hit), class: "big"});
  if (hit.image_url) showPicture(picture, hit.image_url);
  const less = () => go({terms: [...app.state.terms, {item: hit.id, weight: -0.5}]});
  const like = () => { go({...blank(), collection: app.state.collection, item: hit.id}); scrollTo({top: 0}); };
  return [
    make("button", {type: "button", class: "close", "aria-label": "Close", onclick: () => node.close()}, "×"),
    hit.image_url ? make("div", {class: "stage"}, picture) : make("div", {class: "stage words"}, nameOf(hit)),
    make("div", {class: "about"}, make("h2", {id: "detail-title"}, nameOf(hit)),
      query && hit.image_url && heat(app, hit, query, picture), hit.explain && reasons(hit, query), facts(hit),
      make("div", {class: "actions"}, button("More like this", like, "primary"), query && button("Less like this", less))),
  ];
}

// The heat map is a picture of the same shape, so it takes the place of the hit's and gives it back.
function heat(app, hit, query, picture) {
  const said = make("p", {class: "said", role: "status"});
  const scale = make("p", {class: "scale", hidden: true}, "little ", make("span"), " most of the match");
  const toggle = make("button", {type: "button", class: "plain where", "aria-pressed": "false"}, "Why it matched");
  let map = null;
  const show = (source, hot, text = "") => {
    if (source) picture.src = source;
    toggle.setAttribute("aria-pressed", hot);
    toggle.disabled = false;
    scale.hidden = !hot;
    said.textContent = text;
  };
  toggle.addEventListener("click", async () => {
    if (toggle.getAttribute("aria-pressed") === "true") {
      showPicture(picture, hit.image_url);
      return show(null, false);
    }
    show(null, false, "Hiding one part of the picture after another …");
    toggle.disabled = true;
    try {
      map ||= await explain(app.state.collection, hit.id, query);
      show(map.image, true);
    } catch (error) {
      show(null, false, error.message);
    }
  });
  return make("div", {class: "heat"}, toggle, scale, said);
}

// What each signal adds to the score, and each term of several.
function reasons(hit, query) {
  const {signals, terms} = hit.explain;
  const matched = Object.entries(signals).map(([name, {contribution}]) => [SIGNALS[name] || name, contribution]);
  const asked = terms.map(({contribution}, index) => [termName(query[index]), contribution]).filter(([, value]) => value !== undefined);
  const most = Math.max(0.001, ...[...matched, ...asked].map(([, value]) => Math.abs(value)));
  const row = ([name, value]) => [make("dt", {}, name), make("dd", {class: value < 0 ? "against" : ""}, meter(Math.abs(value) / most), `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`)];
  const list = (title, rows) => [make("h3", {}, title), make("dl", {}, rows.flatMap(row))];
  return make("div", {class: "reasons"}, list(`Score ${hit.score.toFixed(3)}, by what matched`, matched), asked.length > 1 && list("By what was asked for", asked));
}

const termName = ({text, item, image} = {}) => text || item || (image ? "Your picture" : "Term");

function facts(hit) {
  const written = (value) => (value === null ? "" : typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? number(value) : String(value));
  const rows = [["id", hit.id], ...Object.entries(hit.metadata || {}).filter(([name]) => !["image", "file"].includes(name))];
  return make("dl", {class: "facts-list"}, rows.flatMap(([name, value]) => [make("dt", {}, titleOf(name)), make("dd", {}, written(value))]));
}
