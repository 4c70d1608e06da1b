// The calls that the page makes; every error becomes an Error whose message a person can read.

async function call(path, body) {
  const options = body && {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || answer.title || `The server answered with status ${response.status}.`);
  return answer;
}

const at = (collection, path) => `/v1/collections/${encodeURIComponent(collection)}${path}`;

export const listCollections = () => call("/v1/collections").then((answer) => answer.collections);

export const search = (collection, query, limit, offset) =>
  call(at(collection, "/search"), {query, limit, offset, include: ["text", "metadata"]});

export const explain = (collection, id, query) => call(at(collection, `/items/${encodeURIComponent(id)}/explain`), {query});

export const browse = (collection, limit, cursor) =>
  call(at(collection, `/items?limit=${limit}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`));

export const quality = (collection, limit, offset) => call(at(collection, `/quality?limit=${limit}&offset=${offset}`));

// Pictures are sent small: no model looks at more than a few hundred pixels, and a phone's photo has thousands.
export async function toDataUri(file, longest = 512) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name || "This file"} is not a picture that the browser can open.`);
  });
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9);
}
