// The quality view: what is wrong with a catalogue.
import {link} from "./address.js";
import {imageUrl, quality} from "./api.js";
import {button, make, number, section, several} from "./dom.js";
import {meter} from "./gallery.js";
import {showPicture} from "./pictures.js";
import {histogram} from "./plots.js";

const PAGE = 12;
const THUMBNAILS = 10;
const MOST = 1000; // pairs and groups that a report lists
const LAST_OFFSET = 900;

let latest = null;

export async function show(app, content) {
  const {collection} = app.state;
  const mine = (latest = content);
  content.replaceChildren(make("h1", {}, `Quality of ${collection}`), make("p", {class: "waiting", role: "status"}, "Looking at all vectors …"));
  try {
    const report = await quality(collection, PAGE, 0);
    if (mine !== latest) return; // another collection was asked for meanwhile
    content.lastChild.replaceWith(
      section("Coverage", ...coverage(report.coverage)),
      section("Pictures and their texts", ...alignment(report.alignment, collection)),
      section("The modality gap", ...gap(report)),
      section("Duplicates", ...duplicates(report.duplicates, collection)),
      ...(report.suspicious.length ? [section("Suspicious vectors", suspicious(report.suspicious, collection))] : []),
    );
  } catch (error) {
    if (mine === latest) content.lastChild.replaceWith(make("p", {class: "wrong", role: "alert"}, error.message));
  }
}

function coverage({items, image, text, both, neither}) {
  const row = ([name, count]) => {
    const share = items ? count / items : 0;
    return [make("dt", {}, name), make("dd", {}, `${number(count)} (${(100 * share).toFixed(share && share < 0.01 ? 1 : 0)}%)`), meter(share)];
  };
  const rows = [["With a picture", image], ["With a text", text], ["With both", both], ["With neither", neither]];
  return [make("p", {}, `${several(items, "item")} in all.`), make("dl", {class: "coverage"}, rows.flatMap(row))];
}

function alignment(told, collection) {
  if (!told.count) return [make("p", {}, "No item has both a picture and a text.")];
  const bound = told.flagged_below;
  const flagged = bound === null
    ? "There are too few of them, or they are too much alike, to say which are misaligned."
    : `${several(told.flagged, "pair is", "pairs are")} far below the others (under ${bound.toFixed(3)}): probably a wrong picture or a wrong text.`;
  const summary = `The cosine of ${several(told.count, "pair")} is ${told.median.toFixed(3)} in the middle, ${told.mean.toFixed(3)} ± ${told.std.toFixed(3)} on average.`;
  const pairs = make("ul", {class: "pairs"});
  const {edges, counts} = told.histogram;
  return [
    make("p", {}, `${summary} ${flagged}`),
    histogram({edges, series: [{name: "Cosine", counts, kind: "one"}], unit: "pairs", label: `Histogram. ${summary} ${flagged}`, bound, boundText: bound === null ? "" : `misaligned below ${bound.toFixed(3)}`}),
    make("h3", {}, "The worst pairs"), pairs,
    ...paged(pairs, told.worst, told.count, collection, (report) => report.alignment.worst, pair),
  ];
}

function gap({modality_gap: distance, modality_histogram: found}) {
  if (distance === null) return [make("p", {}, "There are no pictures, or no texts.")];
  const told = `The centroids of pictures and texts are ${distance.toFixed(3)} apart.`;
  const key = make("p", {class: "key"}, make("span", {class: "one"}, "Pictures"), make("span", {class: "other"}, "Texts"));
  return [
    make("p", {}, `${told} Along the line through both, each vector has a place: where the two hills hardly meet, a picture's nearest neighbours are pictures, and scores of pictures and of texts cannot be compared as they are. Sightline standardises them before it mixes them.`),
    histogram({edges: found.edges, unit: "vectors", label: `Histogram. ${told}`,
      series: [{name: "Pictures", counts: found.image, kind: "one"}, {name: "Texts", counts: found.text, kind: "other"}]}),
    key,
  ];
}

function pair({id, alignment: cosine, misaligned, text, image_url: url}, collection) {
  return make("li", {}, thumbnail(collection, id, url),
    make("span", {class: "title"}, text || id),
    make("span", {class: misaligned ? "score wrong" : "score"}, `${cosine.toFixed(3)}${misaligned ? " · misaligned" : ""}`));
}

function duplicates(found, collection) {
  if (!found.groups) return [make("p", {}, `No two pictures are the same or nearly so (cosine ${found.threshold} and more).`)];
  const groups = make("ul", {class: "groups"});
  const exact = found.exact ? "" : " A few pairs in a thousand may be missed.";
  return [
    make("p", {}, `${several(found.items, "item")} in ${several(found.groups, "group")} of the same or nearly the same picture (cosine ${found.threshold} and more).${exact}`),
    groups,
    ...paged(groups, found.largest, found.groups, collection, (report) => report.duplicates.largest, group),
  ];
}

function group({ids, size, min_score: score, identical}, collection) {
  const likeness = identical ? "the same file" : score === null ? "" : `cosine ${score.toFixed(3)} and more`;
  return strip([several(size, "item"), likeness].filter(Boolean).join(" · "), ids, size, (id) => thumbnail(collection, id));
}

function suspicious(found, collection) {
  return make("ul", {class: "groups"}, found.map(({kind, modality, items, ids}) => {
    const what = kind === "collapsed" ? `different ${modality}s with one and the same vector` : `${modality} vectors that are no embeddings`;
    const url = modality === "text" ? null : undefined; // what is odd about a text, its picture does not show
    return strip(`${several(items, "item")} · ${what}`, ids, items, (id) => thumbnail(collection, id, url));
  }));
}

function strip(title, ids, size, picture) {
  const shown = ids.slice(0, THUMBNAILS);
  const rest = size > shown.length && make("span", {class: "score"}, `and ${number(size - shown.length)} more`);
  return make("li", {}, make("p", {class: "score"}, title), make("div", {class: "thumbnails"}, shown.map(picture), rest));
}

// A list and the button that lengthens it, page by page.
function paged(list, first, total, collection, listOf, entry) {
  let shown = 0;
  const more = button("Show more", async () => {
    more.disabled = true;
    try {
      append(listOf(await quality(collection, PAGE, Math.min(shown, LAST_OFFSET))));
    } catch (error) {
      more.after(make("p", {class: "wrong", role: "alert"}, error.message));
    } finally {
      more.disabled = false;
    }
  });
  const append = (entries) => {
    list.append(...entries.map((one) => entry(one, collection)));
    shown += entries.length;
    more.hidden = entries.length < PAGE || shown >= Math.min(total, MOST - PAGE);
  };
  append(first);
  return [more];
}

function thumbnail(collection, id, url = imageUrl(collection, id)) {
  const words = make("span", {}, id);
  const anchor = make("a", {class: "thumbnail", title: `More like ${id}`, href: link({item: id, collection})}, words);
  if (!url) return anchor;
  const image = make("img", {alt: `More like ${id}`, loading: "lazy"});
  image.addEventListener("load", () => words.remove(), {once: true}); // without a picture its id stays
  image.addEventListener("error", () => image.remove());
  anchor.append(image);
  showPicture(image, url, 256);
  return anchor;
}
