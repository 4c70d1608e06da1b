// Plots as inline SVG, each with its text for those who do not see it.
import {shape} from "./dom.js";

const WIDTH = 640;
const HEIGHT = 160;

// Histograms over the same edges, one upon the other. `bound` is drawn as a line, with what lies below it in another colour.
export function histogram({edges, series, label, unit, bound = null, boundText = ""}) {
  const low = Math.min(edges[0], bound ?? edges[0]);
  const high = edges.at(-1);
  const x = (value) => (WIDTH * (value - low)) / (high - low);
  const highest = Math.max(...series.flatMap(({counts}) => counts), 1);
  const picture = shape("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT + 24}`, role: "img", "aria-label": label, class: "plot"});
  for (const {name, counts, kind} of series)
    counts.forEach((count, bin) => count && picture.append(bar(bin, count, kind, name)));
  picture.append(shape("line", {x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT}));
  picture.append(text(0, HEIGHT + 18, "start", low.toFixed(2)), text(WIDTH, HEIGHT + 18, "end", high.toFixed(2)));
  if (bound !== null) picture.append(...limit(x(bound), boundText));
  return picture;

  function bar(bin, count, kind, name) {
    const height = Math.max(2, (HEIGHT * count) / highest); // one item among thousands is seen, too
    const [left, right] = [x(edges[bin]), x(edges[bin + 1])];
    const below = bound !== null && edges[bin + 1] <= bound;
    const title = `${name}, ${edges[bin].toFixed(3)} to ${edges[bin + 1].toFixed(3)}: ${count} ${unit}`;
    return shape("rect", {x: left + 0.5, y: HEIGHT - height, width: Math.max(1, right - left - 1), height, class: below ? "below" : kind}, shape("title", {}, title));
  }
}

function limit(at, words) {
  const right = at > WIDTH / 2;
  return [shape("line", {x1: at, x2: at, y1: 0, y2: HEIGHT, class: "bound"}), text(at + (right ? -6 : 6), 12, right ? "end" : "start", words)];
}

const text = (x, y, anchor, words) => shape("text", {x, y, "text-anchor": anchor}, words);
