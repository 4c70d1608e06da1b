// An endless gallery: cards, and the next page as soon as the end comes near.
import {link} from "./address.js";
import {button, make} from "./dom.js";
import {showPicture} from "./pictures.js";

const PAGE = 24;
const PATIENCE_MS = 150; // until skeletons take the place of what was there
const AHEAD = "900px";
const FACTS = ["brand", "price", "colour", "base_colour", "color"];

export const nameOf = (item) => item.text || item.id;

const factsOf = (metadata) => FACTS.filter((key) => metadata?.[key] !== undefined).map((key) => metadata[key]).slice(0, 2).join(" · ");

export function makeGallery(app, {summary, open}) {
  const list = make("ul", {class: "gallery"});
  const end = make("div", {class: "end"});
  let [round, stopping] = [null, new AbortController()];
  const watch = new IntersectionObserver((entries) => entries.some(({isIntersecting}) => isIntersecting) && round?.more && next(), {rootMargin: AHEAD});
  watch.observe(end);

  // Shows the first page, as many items as there were at `least`; what was shown stays until then. Gives whether it is there.
  function start(asked) {
    stopping.abort();
    stopping = new AbortController();
    round = {...asked, count: 0, best: 0, more: false, busy: false, signal: stopping.signal};
    return next();
  }

  async function next() {
    const mine = round;
    if (mine.busy) return false;
    [mine.busy, mine.failed] = [true, false];
    list.setAttribute("aria-busy", "true");
    const waiting = setTimeout(() => mine === round && !mine.count && list.replaceChildren(...skeletons()), PATIENCE_MS);
    try {
      const limit = mine.count ? PAGE : Math.min(240, Math.max(PAGE, Math.ceil((mine.least || 0) / PAGE) * PAGE));
      const page = await mine.fetchPage(limit, mine.count, mine.signal);
      if (mine === round) append(mine, page);
    } catch (error) {
      if (mine === round) fail(mine, error);
    } finally {
      clearTimeout(waiting);
      mine.busy = false;
      if (mine === round) list.setAttribute("aria-busy", "false");
    }
    if (mine === round && mine.more) { watch.unobserve(end); watch.observe(end); } // it may be in sight still
    return mine === round && !mine.failed;
  }

  function append(mine, page) {
    if (!mine.count) {
      list.replaceChildren();
      mine.best = Math.max(0.001, ...page.hits.map((hit) => hit.score ?? 0));
      summary.textContent = page.summary;
    }
    list.append(...page.hits.map((hit) => card(app, hit, mine, open)));
    mine.count += page.hits.length;
    mine.more = page.more;
    end.replaceChildren(page.more || mine.count < PAGE ? "" : "That is all.");
  }

  function fail(mine, error) {
    if (!mine.count) { list.replaceChildren(); summary.textContent = ""; }
    [mine.more, mine.failed] = [false, true];
    end.replaceChildren(make("p", {class: "wrong", role: "alert"}, error.message), button("Try again", next));
  }

  return {nodes: [list, end], start, stop: () => { stopping.abort(); watch.disconnect(); round = null; }};
}

const skeletons = () => Array.from({length: 12}, () => make("li", {class: "card skeleton", "aria-hidden": "true"},
  make("div", {class: "tile"}), make("div", {class: "line"}), make("div", {class: "line short"})));

function card(app, hit, {best, query, collection}, open) {
  const tile = make("button", {type: "button", class: "tile", "aria-label": `Details of ${nameOf(hit)}`, onclick: () => open(hit, query)}, pictureOf(hit, 384));
  const like = make("a", {class: "like", href: link({collection, item: hit.id}), "aria-label": `More like ${nameOf(hit)}`}, "More like this");
  const facts = factsOf(hit.metadata);
  return make("li", {class: "card"}, tile, make("div", {class: "below"}, make("span", {class: "title"}, nameOf(hit)), facts && make("span", {class: "facts"}, facts),
    hit.score !== undefined && meter(hit.score / best), make("span", {class: "row"}, make("span", {class: "score"}, hit.score === undefined ? "" : hit.score.toFixed(3)), like)));
}

export function meter(share) {
  const filled = make("span");
  filled.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  return make("span", {class: "meter", "aria-hidden": "true"}, filled);
}

// An item's picture, or its words where it has none or it cannot be shown.
export function pictureOf(item, width) {
  const words = make("span", {class: "words"}, nameOf(item));
  if (!item.image_url) return words;
  const image = make("img", {alt: "", loading: "lazy", decoding: "async"});
  image.addEventListener("load", () => image.classList.add("there"));
  image.addEventListener("error", () => image.replaceWith(words));
  showPicture(image, item.image_url, width);
  return image;
}
