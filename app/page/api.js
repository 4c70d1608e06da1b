// The calls that the page makes; every error becomes an Error whose message a person can read.
import {askForKey, authorization, key} from "./key.js";

const failed = (answer, status) => {
  if (status === 401) return Object.assign(new Error("This takes a key that the server knows."), {status});
  const fields = (answer.errors || []).map(({pointer, detail}) => `${pointer.slice(1)}: ${detail}`).join("; ");
  const told = fields && !answer.detail?.includes(fields) ? ` (${fields})` : "";
  return Object.assign(new Error(`${answer.detail || answer.title || `The server answered with status ${status}`}${told}`), {status, type: answer.type});
};

// Whether there is another key to try than the one that was refused: given meanwhile, or asked for now.
const otherKey = async (used) => key() !== used || askForKey();

// A response that is all right; a refused key is asked for, and the request sent again.
export async function request(path, {method = "GET", body, json, headers = {}, signal} = {}) {
  const sent = json === undefined ? {body, headers} : {body: JSON.stringify(json), headers: {...headers, "Content-Type": "application/json"}};
  const used = key();
  let response;
  try {
    response = await fetch(path, {method, signal, body: sent.body, headers: {...sent.headers, ...authorization()}});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached.");
  }
  if (response.status === 401 && (await otherKey(used))) return request(path, {method, body, json, headers, signal});
  if (!response.ok) throw failed(await response.json().catch(() => ({})), response.status);
  return response;
}

const call = async (path, options) => {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
};
const post = (path, json, options) => call(path, {method: "POST", json, ...options});
const at = (collection, path = "") => `/v1/collections/${encodeURIComponent(collection)}${path}`;
const itemAt = (collection, id, path = "") => at(collection, `/items/${encodeURIComponent(id)}${path}`);

export const imageUrl = (collection, id) => itemAt(collection, id, "/image");

export const listCollections = () => call("/v1/collections").then(({collections}) => collections);
export const createCollection = (name, settings) => call(at(name), {method: "PUT", json: settings});
export const deleteCollection = (name) => call(at(name), {method: "DELETE"});

export const search = (collection, body, signal) => post(at(collection, "/search"), body, {signal});
export const searchBatch = (collection, searches) => post(at(collection, "/search/batch"), {searches}).then(({results}) => results);
export const explain = (collection, id, query) => post(itemAt(collection, id, "/explain"), {query});
export const browse = (collection, {limit, cursor, filter}, signal) =>
  call(at(collection, `/items?${new URLSearchParams({limit, ...(cursor && {cursor}), ...(filter && {filter: JSON.stringify(filter)})})}`), {signal});
export const quality = (collection, limit, offset) => call(at(collection, `/quality?limit=${limit}&offset=${offset}`));

export const listModels = () => call("/v1/models").then(({data}) => data);
export const listGenerations = (collection) => call(at(collection, "/generations")).then(({generations}) => generations);
export const activate = (collection, generation) => post(at(collection, `/generations/${generation}/activate`));
export const drop = (collection, generation) => call(at(collection, `/generations/${generation}`), {method: "DELETE"});
export const reembed = (collection, model) => post(at(collection, "/reembed"), {model, activate: false});

export const listJobs = (parameters) => call(`/v1/jobs?${new URLSearchParams(parameters)}`).then(({jobs}) => jobs);
export const cancelJob = (id) => post(`/v1/jobs/${id}/cancel`);
export const jobErrors = async (id) => (await (await request(`/v1/jobs/${id}/errors`)).text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
export const guessMapping = (columns) => post("/v1/mapping", {columns});
export const ingestSource = (collection, body) => post(at(collection, "/ingest"), body);
export const ingestFile = (collection, form, onProgress) => upload("POST", at(collection, "/ingest"), form, onProgress);
export const putPicture = (collection, id, form, onProgress) => upload("PUT", itemAt(collection, id), form, onProgress);

// `fetch` does not tell how much of a body was sent. `onProgress` is told the share.
function upload(method, path, form, onProgress) {
  const used = key();
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open(method, path);
    Object.entries(authorization()).forEach(([name, value]) => sending.setRequestHeader(name, value));
    sending.responseType = "json";
    sending.upload.addEventListener("progress", ({loaded, total}) => total && onProgress(loaded / total));
    sending.addEventListener("error", () => reject(new Error("The server cannot be reached.")));
    sending.addEventListener("load", async () => {
      if (sending.status < 300) resolve(sending.response);
      else if (sending.status === 401 && (await otherKey(used))) resolve(upload(method, path, form, onProgress));
      else reject(failed(sending.response || {}, sending.status));
    });
    sending.send(form);
  });
}
