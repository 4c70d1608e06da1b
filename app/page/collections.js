// Collections: which there are, a new one, away with one.
import {link} from "./address.js";
import {createCollection, deleteCollection, listModels} from "./api.js";
import {button, confirmed, field, make, number, section, select, several, when} from "./dom.js";

export async function show(app, content) {
  const list = make("ul", {class: "cards"});
  const creation = make("div");
  content.append(make("h1", {}, "Collections"), list, creation);
  const refresh = async () => {
    const collections = await app.refreshCollections();
    list.replaceChildren(...collections.map((one) => card(app, one, refresh)));
  };
  await refresh();
  creation.replaceWith(section("A new collection", form(app, await listModels().catch(() => []), refresh)));
}

function card(app, one, refresh) {
  const {name} = one;
  const remove = async () => {
    const text = `Its ${several(one.items, "item")}, their pictures and vectors are deleted for good.${name === "default" ? " It comes back empty." : ""}`;
    if (!(await confirmed(`Delete ${name}?`, text, "Delete it"))) return;
    try {
      await deleteCollection(name);
      if (app.state.collection === name) await app.go({collection: "default"}, {replace: true});
      else await refresh();
      app.say(`${name} is deleted.`);
    } catch (error) {
      app.say(error.message, true);
    }
  };
  const facts = [["Model", one.model], ["Generation", one.generation], ["Pictures", number(one.vectors.image ?? 0)], ["Texts", number(one.vectors.text ?? 0)],
    ["Index", `${one.index.kind}, ${(one.index.memory_bytes / 2 ** 20).toFixed(1)} MiB`], ["Made", when(one.created_at)]];
  return make("li", {class: name === app.state.collection ? "entry chosen" : "entry"},
    make("h2", {}, make("a", {href: link({collection: name})}, name)), make("p", {class: "big-number"}, several(one.items, "item")),
    make("dl", {}, facts.flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, String(value))])),
    make("div", {class: "actions"}, make("a", {class: "plain", href: link({view: "add", collection: name})}, "Add items"),
      make("button", {type: "button", class: "plain", "aria-label": `Delete ${name}`, onclick: remove}, "Delete")));
}

function form(app, models, refresh) {
  const name = make("input", {type: "text", required: true, maxLength: 64, autocomplete: "off"});
  const model = select(models.map(({id, dimension}) => [id, `${id} (${dimension} dimensions)`]), models[0]?.id);
  const weight = (value) => make("input", {type: "number", min: 0, max: 10, step: 0.1, value, required: true});
  const [image, text] = [weight(1), weight(0.3)];
  const keep = make("input", {type: "checkbox", checked: true});
  const submit = async (event) => {
    event.preventDefault();
    const settings = {model: model.value, store_originals: keep.checked, modality_weights: {image: Number(image.value), text: Number(text.value)}};
    try {
      await createCollection(name.value.trim(), settings);
      app.say(`${name.value.trim()} is there.`);
      event.target.reset();
      await refresh();
    } catch (error) {
      app.say(error.message, true);
    }
  };
  return make("form", {class: "fields", onsubmit: submit}, field("Name", name, "Letters, digits, dashes"), field("Model", model),
    field("Weight of pictures", image), field("Weight of texts", text, "How much each counts in a search"),
    make("label", {class: "flag"}, keep, "Keep the pictures (another model needs them later)"),
    make("div", {class: "actions"}, make("button", {class: "primary"}, "Create")));
}
