// Pictures: of items, as the server has them; and of the person who searches, made small.
import {request} from "./api.js";
import {key} from "./key.js";

// An <img> sends no key, so with one the picture is fetched here.
export async function showPicture(image, url, width) {
  const source = width ? `${url}?width=${width}` : url;
  if (!key()) {
    image.src = source;
    return;
  }
  try {
    const blob = URL.createObjectURL(await (await request(source)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(blob), {once: true});
    image.src = blob;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

// Whether what is dragged are files.
export const bringsFiles = ({dataTransfer}) => Boolean(dataTransfer?.types.includes("Files"));

export const isPicture = (file) => file.type.startsWith("image/");

// No model looks at more than a few hundred pixels, and a phone's photo has thousands.
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
