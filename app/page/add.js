// Adding items: pictures one by one, a catalogue as a job, and the jobs there were.
import {make, section} from "./dom.js";
import {makeJobs} from "./jobs.js";
import {makeUpload} from "./upload.js";
import {makeWizard} from "./wizard.js";

export async function show(app, content) {
  const jobs = makeJobs(app, {collection: app.state.collection, limit: 10});
  content.append(make("h1", {}, `Add to ${app.state.collection}`),
    section("A catalogue", makeWizard(app, jobs.add)), section("Pictures", makeUpload(app)), section("Jobs", jobs.node));
  jobs.load();
  return jobs.stop;
}
