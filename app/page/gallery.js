// Cards and the detail view. Whatever comes from the server is set as text, never as HTML.

const HIDDEN_FACTS = new Set(["image", "file", "split"]);

const titleOf = (hit) => hit.text || hit.id;
const scoresOf = (hit) => Object.entries(hit.scores || {}).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(" · ");

function factsOf(metadata) {
  return ["brand", "price", "colour", "base_colour"].filter((key) => metadata?.[key] !== undefined).map((key) => metadata[key]).slice(0, 2).join(" · ");
}

export function appendCards(gallery, hits, {open, like}) {
  const best = Math.max(...hits.map((hit) => hit.score ?? 0), 0.001);
  gallery.append(...hits.map((hit) => card(hit, best, open, like)));
}

function card(hit, best, open, like) {
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const part = (name) => made.querySelector(name);
  const picture = part("img");
  if (hit.image_url) {
    picture.src = `${hit.image_url}?width=384`;
    picture.alt = titleOf(hit);
    part(".words").remove();
  } else {
    part(".words").textContent = titleOf(hit);
    picture.remove();
  }
  part(".title").textContent = titleOf(hit);
  part(".facts").textContent = factsOf(hit.metadata);
  part(".open").setAttribute("aria-label", `Details of ${titleOf(hit)}`);
  part(".open").addEventListener("click", () => open(hit));
  part(".like").addEventListener("click", () => like(hit));
  if (hit.score !== undefined) {
    part(".score").textContent = hit.score.toFixed(3);
    part(".score").title = scoresOf(hit);
    part(".bar").hidden = false;
    part(".bar span").style.width = `${Math.max(0, Math.min(100, (100 * hit.score) / best))}%`;
  }
  return made;
}

export function showDetail(dialog, hit, {like, where}) {
  const picture = dialog.querySelector("img");
  if (hit.image_url) picture.src = hit.image_url;
  else picture.removeAttribute("src");
  picture.alt = titleOf(hit);
  dialog.querySelector("h2").textContent = titleOf(hit);
  dialog.querySelector(".score").textContent = hit.score === undefined ? hit.id : `score ${hit.score.toFixed(3)} (${scoresOf(hit)})`;
  dialog.querySelector("dl").replaceChildren(...facts(hit).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  dialog.querySelector(".like").onclick = () => like(hit);
  offerHeat(dialog, hit, picture, where);
  dialog.showModal();
}

// The heat map is a picture of the same shape, so it takes the place of the hit's and gives it back.
function offerHeat(dialog, hit, picture, where) {
  const [button, legend] = [dialog.querySelector(".where"), dialog.querySelector(".legend")];
  const turns = (dialog.turns = {}); // those of another hit's detail are over
  const show = (source, hot, said = "") => {
    if (source) picture.src = source;
    button.setAttribute("aria-pressed", hot);
    button.disabled = false;
    legend.querySelector("[role=status]").textContent = said;
    legend.hidden = !hot && !said;
    legend.querySelector(".scale").hidden = !hot;
  };
  button.hidden = !where || !hit.image_url;
  show(null, false);
  button.onclick = async () => {
    if (button.getAttribute("aria-pressed") === "true") return show(hit.image_url, false);
    show(null, false, "Hiding one part after another …");
    button.disabled = true;
    try {
      turns.heat ||= await where();
      if (dialog.turns === turns) show(turns.heat.image, true);
    } catch (error) {
      if (dialog.turns === turns) show(null, false, error.message);
    }
  };
}

function facts(hit) {
  const metadata = Object.entries(hit.metadata || {}).filter(([name]) => !HIDDEN_FACTS.has(name));
  return [["id", hit.id], ...metadata.map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : value])];
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
