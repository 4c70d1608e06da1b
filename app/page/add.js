// Adding items: pictures one by one, a catalogue as a job, and the jobs there were.
import {make, section} from "./dom.js";
import {makeJobs} from "./jobs.js";
import {makeUpload} from "./upload.js";
import {makeWizard} from "./wizard.js";

export async function show(app, content) {
  const {collection} = app.state;
  const jobs = makeJobs(app);
  content.append(make("h1", {}, `Add to ${collection}`),
    section("A catalogue", makeWizard(app, jobs.add)), section("Pictures", makeUpload(app)), section("Jobs", jobs.node));
  jobs.load({collection, limit: 10}).catch((error) => app.say(error.message, true));
  return jobs.stop;
}
