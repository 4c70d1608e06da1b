// Generations: a new model beside the old one, both compared, forward and back.
import {activate, drop, listGenerations, listJobs, listModels, reembed} from "./api.js";
import {makeComparison} from "./compare.js";
import {confirmed, field, make, number, scrolling, section, select} from "./dom.js";
import {makeJobs} from "./jobs.js";

export async function show(app, content) {
  const {collection} = app.state;
  const table = scrolling("Generations");
  const changing = make("div");
  const jobs = makeJobs(app);
  const comparing = make("div");
  const refresh = async () => {
    const [generations, past] = await Promise.all([listGenerations(collection), listJobs({collection, limit: 100})]);
    const reports = past.map(({report}) => report).filter(Boolean);
    table.replaceChildren(tableOf(app, generations, jobs, refresh));
    offer(generations);
    comparing.replaceChildren(...(generations.filter(answers).length > 1 ? makeComparison(app, generations.filter(answers), reports)
      : [make("p", {}, "There is one generation that answers. Change to another model, and both can be compared here before anything changes.")]));
  };
  content.append(make("h1", {}, `Generations of ${collection}`), section("All vectors by one model each", table),
    section("Side by side", comparing), section("Another model", changing, jobs.node));
  const models = await listModels();
  // Of the models, those that no generation has.
  const offer = (generations) => {
    const other = models.filter(({fingerprint}) => generations.every((one) => one.fingerprint !== fingerprint));
    changing.replaceChildren(other.length ? form(app, other, jobs, refresh) : make("p", {}, "Every model of this server has its generation. Another one comes with: sightline model add"));
  };
  await refresh();
  (await listJobs({collection, state: "running"})).filter(({kind}) => kind === "reembed").forEach((job) => jobs.add(job, refresh));
  return jobs.stop;
}

const answers = ({state}) => state !== "resting";

function tableOf(app, generations, jobs, refresh) {
  const heads = ["", "Model", "State", "Pictures", "Texts", "Missing", ""];
  return make("table", {class: "generations"}, make("thead", {}, make("tr", {}, heads.map((head) => make(head ? "th" : "td", head ? {scope: "col"} : {}, head)))),
    make("tbody", {}, generations.map((one) => line(app, one, generations, jobs, refresh))));
}

function line(app, one, generations, jobs, refresh) {
  const active = generations.find(({state}) => state === "active").number;
  const doing = (action) => async () => {
    try {
      const answer = await action();
      if (answer?.kind) jobs.add(answer, refresh); // it is filled first
      await refresh();
      app.refreshCollections();
    } catch (error) {
      app.say(error.message, true);
    }
  };
  const {collection} = app.state;
  const away = async () => (await confirmed(`Drop generation ${one.number}?`, "Its vectors and its index are deleted for good.", "Drop it")) && drop(collection, one.number);
  const tool = (text, action) => make("button", {type: "button", class: "plain", "aria-label": `${text} generation ${one.number}`, onclick: doing(action)}, text);
  const tools = one.number === active ? [] : [tool(one.number < active ? "Roll back to" : "Activate", () => activate(collection, one.number)), tool("Drop", away)];
  return make("tr", {}, make("th", {scope: "row"}, String(one.number)), make("td", {}, one.model), make("td", {}, make("span", {class: `badge ${one.state}`}, one.state)),
    ["image", "text"].map((kind) => make("td", {}, number(one.vectors[kind] ?? 0))), make("td", {}, number(one.missing)), make("td", {}, make("div", {class: "actions"}, tools)));
}

function form(app, models, jobs, refresh) {
  const model = select(models.map(({id, dimension}) => [id, `${id} (${dimension} dimensions)`]), models[0].id);
  const submit = async (event) => {
    event.preventDefault();
    try {
      jobs.add(await reembed(app.state.collection, model.value), refresh);
    } catch (error) {
      app.say(error.message, true);
    }
  };
  return make("form", {class: "fields", onsubmit: submit}, field("Model", model, "It is filled beside the active one and compared with it; nothing changes until it is activated"),
    make("div", {class: "actions"}, make("button", {class: "primary"}, "Fill a generation")));
}
