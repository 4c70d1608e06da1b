// The quality view: what is wrong with the catalogue. Whatever comes from the server is set as text, never as HTML.
import {quality} from "./api.js";

const PAGE = 12;
const THUMBNAILS = 10;
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640;
const HEIGHT = 150;

const number = (value) => value.toLocaleString();
const several = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export async function makeQuality(collection) {
  const report = await quality(collection, PAGE, 0);
  return [
    element("h1", `Quality of ${collection}`),
    part("Coverage", ...coverage(report.coverage)),
    part("Pictures and their texts", ...alignment(report, collection)),
    part("Duplicates", ...duplicates(report.duplicates, collection)),
    ...(report.suspicious.length ? [part("Suspicious vectors", suspicious(report.suspicious, collection))] : []),
  ];
}

function coverage({items, image, text, both, neither}) {
  const rows = [["With a picture", image], ["With a text", text], ["With both", both], ["With neither", neither]];
  const list = element("dl", "", "coverage");
  for (const [name, count] of rows) {
    const share = items ? (100 * count) / items : 0;
    const bar = element("span", "", "bar");
    bar.append(element("span"));
    bar.firstChild.style.width = `${share}%`;
    const value = element("dd", `${number(count)} (${share.toFixed(share && share < 1 ? 1 : 0)}%)`);
    list.append(element("dt", name), value, bar);
    bar.setAttribute("aria-hidden", "true");
  }
  return [element("p", `${several(items, "item")} in all.`), list];
}

function alignment({alignment: told, modality_gap: gap}, collection) {
  if (!told.count) return [element("p", "No item has both a picture and a text.")];
  const flagged = told.flagged_below === null
    ? "There are too few of them, or they are too much alike, to say which are misaligned."
    : `${several(told.flagged, "pair is", "pairs are")} far below the others (under ${told.flagged_below.toFixed(3)}): probably a wrong picture or a wrong text.`;
  const summary = `The cosine of ${several(told.count, "pair")} is ${told.median.toFixed(3)} in the middle, ${told.mean.toFixed(3)} ± ${told.std.toFixed(3)} on average.`;
  const pairs = element("ul", "", "pairs");
  const shown = [
    element("p", `${summary} ${flagged} The modality gap, the distance between the centroids of pictures and texts, is ${gap.toFixed(3)}.`),
    histogram(told, `${summary} ${flagged}`),
    element("h3", "The worst pairs"),
    pairs,
  ];
  return [...shown, ...paged(pairs, told.worst, told.count, collection, (report) => report.alignment.worst, pair)];
}

function histogram({histogram: {edges, counts}, flagged_below: bound}, label) {
  const low = Math.min(edges[0], bound ?? edges[0]);
  const high = edges.at(-1);
  const x = (value) => (WIDTH * (value - low)) / (high - low);
  const highest = Math.max(...counts);
  const picture = shape("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT + 22}`, role: "img", "aria-label": `Histogram. ${label}`, class: "histogram"});
  counts.forEach((count, bin) => {
    const height = count && Math.max(2, (HEIGHT * count) / highest); // one item among thousands is seen, too
    const below = bound !== null && edges[bin + 1] <= bound;
    const bar = shape("rect", {x: x(edges[bin]) + 0.5, y: HEIGHT - height, width: Math.max(1, x(edges[bin + 1]) - x(edges[bin]) - 1), height, class: below ? "below" : ""});
    bar.append(shape("title", {}, `${edges[bin].toFixed(3)} to ${edges[bin + 1].toFixed(3)}: ${several(count, "pair")}`));
    picture.append(bar);
  });
  picture.append(shape("line", {x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT}));
  picture.append(shape("text", {x: 0, y: HEIGHT + 18}, low.toFixed(2)), shape("text", {x: WIDTH, y: HEIGHT + 18, "text-anchor": "end"}, high.toFixed(2)));
  if (bound !== null) {
    const side = x(bound) > WIDTH / 2 ? "end" : "start";
    picture.append(shape("line", {x1: x(bound), x2: x(bound), y1: 0, y2: HEIGHT, class: "bound"}));
    picture.append(shape("text", {x: x(bound) + (side === "start" ? 6 : -6), y: 12, "text-anchor": side}, `misaligned below ${bound.toFixed(3)}`));
  }
  return picture;
}

function pair({id, alignment: cosine, misaligned, text, image_url: url}, collection) {
  const shown = element("li");
  const words = element("span", "", "below");
  words.append(element("span", text || id, "title"), element("span", `${cosine.toFixed(3)}${misaligned ? " · misaligned" : ""}`, misaligned ? "score wrong" : "score"));
  shown.append(thumbnail(collection, id, url), words);
  return shown;
}

function duplicates(found, collection) {
  if (!found.groups) return [element("p", `No two pictures are the same or nearly so (cosine ${found.threshold} and more).`)];
  const groups = element("ul", "", "groups");
  const exact = found.exact ? "" : " A few pairs in a thousand may be missed.";
  return [
    element("p", `${several(found.items, "item")} in ${several(found.groups, "group")} of the same or nearly the same picture (cosine ${found.threshold} and more).${exact}`),
    groups,
    ...paged(groups, found.largest, found.groups, collection, (report) => report.duplicates.largest, group),
  ];
}

function group({ids, size, min_score: score, identical}, collection) {
  const shown = element("li");
  const likeness = identical ? "the same file" : score === null ? "" : `cosine ${score.toFixed(3)} and more`;
  shown.append(element("p", [several(size, "item"), likeness].filter(Boolean).join(" · "), "score"));
  const row = element("div", "", "thumbnails");
  row.append(...ids.slice(0, THUMBNAILS).map((id) => thumbnail(collection, id)));
  if (size > THUMBNAILS) row.append(element("span", `and ${number(size - Math.min(size, THUMBNAILS))} more`, "score"));
  shown.append(row);
  return shown;
}

function suspicious(found, collection) {
  const groups = element("ul", "", "groups");
  groups.append(...found.map(({kind, modality, items, ids}) => {
    const shown = element("li");
    const what = kind === "collapsed" ? `different ${modality}s with one and the same vector` : `${modality} vectors that are no embeddings`;
    shown.append(element("p", `${several(items, "item")} · ${what}`, "score"));
    const row = element("div", "", "thumbnails");
    const url = modality === "text" ? null : undefined; // what is odd about a text, its picture does not show
    row.append(...ids.slice(0, THUMBNAILS).map((id) => thumbnail(collection, id, url)));
    shown.append(row);
    return shown;
  }));
  return groups;
}

// A list and the button that lengthens it, page by page.
function paged(list, first, total, collection, listOf, make) {
  const button = element("button", "Show more", "more");
  button.type = "button";
  let shown = 0;
  const append = (entries) => {
    list.append(...entries.map((entry) => make(entry, collection)));
    shown += entries.length;
    button.hidden = entries.length < PAGE || shown >= Math.min(total, 1000 - PAGE);
  };
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      append(listOf(await quality(collection, PAGE, Math.min(shown, 900))));
    } catch (error) {
      button.after(element("p", error.message, "status wrong"));
    } finally {
      button.disabled = false;
    }
  });
  append(first);
  return [button];
}

function thumbnail(collection, id, url = `/v1/collections/${encodeURIComponent(collection)}/items/${encodeURIComponent(id)}/image`) {
  const link = element("a", "", "thumbnail");
  const parameters = new URLSearchParams({item: id, ...(collection === "default" ? {} : {c: collection})});
  link.href = `/?${parameters}`;
  link.title = `More like ${id}`;
  link.append(element("span", id));
  if (!url) return link;
  const picture = element("img");
  Object.assign(picture, {alt: `More like ${id}`, loading: "lazy", src: `${url}?width=256`});
  picture.addEventListener("load", () => link.firstChild.remove(), {once: true}); // without a picture its id stays
  picture.addEventListener("error", () => picture.remove());
  link.append(picture);
  return link;
}

function part(title, ...content) {
  const made = element("section");
  made.append(element("h2", title), ...content);
  return made;
}

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
