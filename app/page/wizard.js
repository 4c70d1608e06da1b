// A catalogue in three steps: which one, what its columns hold, how it is taken in.
import {guessMapping, ingestFile, ingestSource} from "./api.js";
import {readHead} from "./columns.js";
import {field, make, scrolling, select, several} from "./dom.js";

const ROLES = [["id", "Id"], ["image", "Picture"], ["text", "Text"]];
const NONE = "";

export function makeWizard(app, started) {
  const mapping = make("div", {class: "mapping", role: "group", "aria-label": "Columns"});
  const [mode, onError, deletes] = options();
  const source = make("input", {type: "text", autocomplete: "off", placeholder: "https://shop.example/catalogue.csv.gz"});
  const file = make("input", {type: "file", "aria-label": "Catalogue file", accept: ".csv,.tsv,.txt,.jsonl,.ndjson,.parquet,.zip,.tar,.gz,.zst"});
  const name = make("b", {}, "Choose a catalogue");
  const sent = make("progress", {max: 1, value: 0, hidden: true, "aria-label": "Upload"});
  const go = make("button", {class: "primary"}, "Take it in");
  let roles = null;

  const choose = async () => {
    const chosen = file.files[0];
    if (!chosen) return;
    [name.textContent, source.value, roles] = [chosen.name, "", null];
    try {
      roles = await drawMapping(mapping, chosen);
    } catch (error) {
      app.say(error.message, true);
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    const [chosen, place] = [file.files[0], source.value.trim()];
    if (!chosen && !place) return app.say("Choose a file, or say where the catalogue lies.", true);
    const asked = {mode: mode.value, on_error: onError.value, ...(!place && roles && {mapping: roles()})};
    if (mode.value === "sync" && deletes.value) asked.expect_deletes = Number(deletes.value);
    go.disabled = true;
    sent.hidden = Boolean(place);
    try {
      const {collection} = app.state;
      const job = place ? await ingestSource(collection, {source: place, ...asked}) : await ingestFile(collection, formOf(chosen, asked), (share) => { sent.value = share; });
      app.say("The job has begun.");
      started(job);
    } catch (error) {
      app.say(error.message, true);
    } finally {
      go.disabled = false;
      sent.hidden = true;
    }
  };
  const zone = make("label", {class: "zone"}, file, name, " or drop it here", make("span", {class: "hint"}, "CSV, JSON Lines, Parquet, zip with pictures, WebDataset"));
  file.addEventListener("change", choose);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    file.files = event.dataTransfer.files;
    choose();
  });
  return make("form", {class: "wizard", onsubmit: submit},
    step(1, "Choose it", zone, field("or where it lies", source, "A URL, an object store's address, or a path of the server under SIGHTLINE_INGEST_ROOTS")),
    step(2, "Check its columns", mapping), step(3, "Say how", make("div", {class: "fields"}, [mode, onError, deletes].map(({parentElement}) => parentElement))),
    make("div", {class: "actions"}, go, sent));
}

const step = (count, title, ...content) => make("fieldset", {class: "step"}, make("legend", {}, make("span", {class: "count"}, String(count)), title), content);

function options() {
  const mode = select([["upsert", "Add and update"], ["sync", "Make the collection what the catalogue says"]], "upsert");
  const onError = select([["skip", "Report it and go on"], ["fail", "End the job"]], "skip");
  const deletes = make("input", {type: "number", min: 0});
  field("Items of the catalogue", mode);
  field("A bad row", onError);
  field("Most items that may be deleted", deletes, "Needed where it is more than a tenth of the collection").hidden = true;
  mode.addEventListener("change", () => { deletes.parentElement.hidden = mode.value !== "sync"; });
  return [mode, onError, deletes];
}

function formOf(file, {mapping, ...fields}) {
  const form = new FormData();
  for (const [key, value] of Object.entries(fields)) form.append(key, value);
  if (mapping) form.append("mapping", JSON.stringify(mapping));
  form.append("file", file);
  return form;
}

// Gives what the person chose, as a function; null where only the server can tell the columns.
async function drawMapping(node, file) {
  const head = await readHead(file);
  if (!head) {
    node.replaceChildren(make("p", {}, "The server will guess the columns when it opens this file; the job tells what it guessed."));
    return null;
  }
  const guess = await guessMapping(head.columns);
  const guessed = ROLES.map(([role]) => guess[role]).filter(Boolean); // maybe a column within which others lie
  const choices = [[NONE, "none"], ...[...new Set([...head.columns, ...guessed])].map((column) => [column, column])];
  const selects = ROLES.map(([role, title]) => [role, title, select(choices, guess[role] ?? NONE)]);
  const rest = make("p", {class: "hint"});
  const left = make("p", {class: "hint wrong"}, "Pictures that lie beside this file stay behind: zip them with it, or name them by URL.");
  const chosen = () => Object.fromEntries(selects.map(([role, , input]) => [role, input.value || null]));
  const tell = () => {
    const {image} = chosen();
    const roles = new Set(Object.values(chosen()));
    left.hidden = !image || head.rows.every((row) => /^(https?:|data:|$)/.test(row[head.columns.indexOf(image)] ?? ""));
    rest.textContent = `Metadata: ${head.columns.filter((column) => !roles.has(column)).join(", ") || "none"}`;
  };
  node.replaceChildren(make("div", {class: "fields"}, selects.map(([role, title, input]) => {
    input.addEventListener("change", tell);
    return field(title, input, guess[role] ? `guessed: ${guess[role]}` : role === "id" ? "none: the number of the row" : "none guessed");
  })), left, rest, preview(head));
  tell();
  return chosen;
}

const preview = ({columns, rows}) => scrolling("First rows", make("table", {},
  make("caption", {}, `The first ${several(rows.length, "row")}`), make("thead", {}, make("tr", {}, columns.map((column) => make("th", {scope: "col"}, column)))),
  make("tbody", {}, rows.map((row) => make("tr", {}, row.map((cell) => make("td", {}, cell)))))));
