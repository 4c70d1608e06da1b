// Pictures uploaded one by one, each with its progress.
import {putPicture} from "./api.js";
import {button, make, several} from "./dom.js";
import {forgetCounts} from "./facets.js";
import {isPicture} from "./pictures.js";

const AT_ONCE = 2;

const stem = (name) => name.replace(/\.[^.]+$/, "");
const words = (name) => stem(name).replaceAll(/[_-]+/g, " ").trim();

export function makeUpload(app) {
  const list = make("ul", {class: "uploads"});
  const naming = make("input", {type: "checkbox", checked: true});
  const input = make("input", {type: "file", accept: "image/*", multiple: true, "aria-label": "Pictures to add", onchange: () => { add([...input.files]); input.value = ""; }});
  const status = make("p", {class: "said", role: "status"});
  const zone = make("label", {class: "zone"}, input, make("b", {}, "Choose pictures"), " or drop them here");
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); zone.classList.remove("over"); add([...event.dataTransfer.files]); });
  const waiting = [];
  let [running, done, failures] = [0, 0, 0];

  function add(files) {
    const pictures = files.filter(isPicture);
    if (!pictures.length) return app.say("These are no pictures. A catalogue goes in above.", true);
    waiting.push(...pictures.map((file) => row(file)));
    while (running < AT_ONCE && waiting.length) work();
  }

  async function work() {
    running += 1;
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      (await next()) ? (done += 1) : (failures += 1);
      status.textContent = `${several(done, "picture")} stored${failures ? `, ${failures} failed` : ""}${waiting.length ? `, ${waiting.length} to go` : ""}.`;
    }
    running -= 1;
    if (!running) { forgetCounts(); app.refreshCollections(); }
  }

  function row(file) {
    const bar = make("progress", {max: 1, value: 0, "aria-label": `Upload of ${file.name}`});
    const said = make("span", {class: "score"}, "waiting");
    const {collection} = app.state;
    const send = async () => {
      const form = new FormData();
      form.append("image", file);
      if (naming.checked && words(file.name)) form.append("text", words(file.name));
      said.textContent = "";
      try {
        const {status: outcome, duplicates} = await putPicture(collection, stem(file.name), form, (share) => { bar.value = share; });
        bar.value = 1;
        said.textContent = `${outcome}${duplicates?.length ? `, much like ${duplicates[0].id}` : ""}`;
        return true;
      } catch (error) {
        said.textContent = error.message;
        said.className = "score wrong";
        said.after(button("Try again", (event) => { event.target.remove(); said.className = "score"; waiting.push(send); if (!running) work(); }, "link"));
        return false;
      }
    };
    list.append(make("li", {}, make("span", {class: "title"}, file.name), bar, said));
    return send;
  }

  return make("div", {}, make("p", {}, "A file's name becomes the item's id."), zone,
    make("label", {class: "flag"}, naming, "Its words become the item's text, too"), list, status);
}
