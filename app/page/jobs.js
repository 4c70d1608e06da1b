// Jobs as cards: how far they are, live, and what became of their rows.
import {cancelJob, jobErrors, listJobs} from "./api.js";
import {button, make, number, scrolling, several, when} from "./dom.js";
import {followJob} from "./events.js";
import {forgetCounts} from "./facets.js";

const UNFINISHED = new Set(["queued", "running"]);
const COUNTS = ["created", "updated", "unchanged", "failed", "warnings", "deleted"];
const SHOWN_ROWS = 50;

export function makeJobs(app) {
  const stopping = new AbortController();
  const none = make("p", {hidden: true}, "None yet.");
  const list = make("ul", {class: "jobs"});
  const add = (job, ended) => {
    none.hidden = true;
    const shown = make("li", {class: "job"});
    list.prepend(shown);
    draw(app, shown, job);
    if (UNFINISHED.has(job.state)) follow(job, shown, ended);
  };
  const follow = (job, shown, ended = () => {}) => followJob(job.id, (told) => {
    draw(app, shown, told);
    if (UNFINISHED.has(told.state)) return;
    forgetCounts();
    app.refreshCollections();
    ended(told)?.catch((error) => app.say(error.message, true));
  }, stopping.signal);
  const load = async (which) => {
    const jobs = await listJobs(which);
    none.hidden = jobs.length > 0;
    jobs.reverse().forEach((job) => add(job));
  };
  return {node: make("div", {}, none, list), add, load, stop: () => stopping.abort()};
}

function draw(app, shown, job) {
  const {progress, state} = job;
  const open = shown.querySelector("details")?.open;
  const focused = shown.contains(document.activeElement) && document.activeElement.localName;
  const title = job.kind === "reembed" ? `Change to model ${job.model}` : `Catalogue ${(job.source || "").split("/").at(-1)}`;
  shown.replaceChildren(
    make("div", {class: "row"}, make("span", {class: "title"}, title), make("span", {class: `badge ${state}`}, state)),
    bar(progress, state, title),
    make("p", {class: "score"}, [...counts(progress), pace(progress, state)].filter(Boolean).join(" · ") || `begun ${when(job.created_at)}`),
    ...(job.mapping ? [make("p", {class: "hint"}, `Columns: ${columns(job.mapping)}`)] : []),
    ...(job.error ? [make("p", {class: "wrong", role: "alert"}, job.error.detail)] : []),
    ...(UNFINISHED.has(state) ? [cancel(app, job)] : []),
    ...(progress.failed + progress.warnings ? [badRows(job, open)] : []),
  );
  if (focused) shown.querySelector(focused)?.focus();
}

function bar({total, done}, state, title) {
  const made = make("progress", {max: total || 1, "aria-label": `Progress of ${title}`});
  if (state === "succeeded") made.value = total || 1;
  else if (total || state !== "running") made.value = done;
  return made;
}

const counts = (progress) => COUNTS.filter((name) => progress[name]).map((name) => `${number(progress[name])} ${name}`);

function pace({done, total, per_second: rate, eta_seconds: eta}, state) {
  if (state !== "running") return "";
  const parts = [total ? `${number(done)} of ${number(total)}` : "", rate ? `${number(Math.round(rate))} a second` : "", eta ? `${several(Math.ceil(eta), "second")} to go` : ""];
  return parts.filter(Boolean).join(" · ");
}

const columns = ({id, image, text, metadata}) =>
  [["id", id], ["picture", image], ["text", text], ["metadata", (metadata || []).join(", ")]].filter(([, column]) => column).map(([role, column]) => `${role} = ${column}`).join("; ");

function cancel(app, job) {
  return button("Cancel", async (event) => {
    event.target.disabled = true;
    await cancelJob(job.id).catch((error) => app.say(error.message, true));
  });
}

function badRows(job, open) {
  const rows = scrolling("Bad rows");
  const made = make("details", {class: "bad"}, make("summary", {}, "Bad rows"), rows);
  made.addEventListener("toggle", async () => {
    if (!made.open || rows.childElementCount) return;
    try {
      const found = await jobErrors(job.id);
      const line = ({level, row, id, detail}) => make("tr", {}, [row, id, level, detail].map((cell) => make("td", {}, String(cell))));
      rows.append(make("table", {}, make("tbody", {}, found.slice(0, SHOWN_ROWS).map(line))));
    } catch (error) {
      rows.append(make("p", {class: "wrong"}, error.message));
    }
  });
  made.open = Boolean(open);
  return made;
}
