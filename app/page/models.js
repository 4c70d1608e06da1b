// The models that this server can use.
import {listModels} from "./api.js";
import {make, section} from "./dom.js";

export async function show(app, content) {
  content.append(make("h1", {}, "Models"));
  try {
    content.append(make("ul", {class: "cards"}, (await listModels()).map(card)));
  } catch (error) {
    content.append(make("p", {class: "wrong", role: "alert"}, error.message));
  }
  content.append(section("Another model", make("p", {}, "Any OpenCLIP model becomes one of these with one command, its parity with the original measured: "),
    make("p", {}, make("code", {}, "sightline model add")), make("p", {}, "Under Generations a collection changes to it while it is in use.")));
}

function card(model) {
  const parity = Object.entries(model.parity).map(([name, value]) => `${name} ${value.toFixed(4)}`).join(", ");
  const facts = [["Architecture", model.architecture], ["Trained on", model.pretrained], ["Dimensions", model.dimension], ["Precision", model.precision],
    ["Picture", model.image_size.join(" × ")], ["Words", `${model.context_length} tokens`], ["Parity", parity], ["Licence", model.licence || "unknown"],
    ["Fingerprint", model.fingerprint.slice(0, 12)]];
  return make("li", {class: "entry"}, make("h2", {}, model.id),
    make("dl", {}, facts.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))])));
}
