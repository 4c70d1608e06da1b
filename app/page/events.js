// A job, followed by server-sent events until it has ended. `EventSource` could not send a key.
import {request} from "./api.js";

const PAUSE_MS = 1000;

const pause = (signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, PAUSE_MS);
  signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, {once: true});
});

// Calls `told` with each state of the job; comes back when a server that stopped is there again.
export async function followJob(id, told, signal) {
  while (!signal.aborted) {
    try {
      const response = await request(`/v1/jobs/${id}/events`, {signal});
      for await (const {name, data} of events(response.body)) {
        told(JSON.parse(data));
        if (name === "finished") return;
      }
    } catch (error) {
      if (signal.aborted || error.status < 500) return; // else the server comes back
    }
    await pause(signal);
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let {done, value} = await reader.read(); !done; {done, value} = await reader.read()) {
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    yield* blocks.map(parse).filter(({data}) => data);
  }
}

function parse(block) {
  const fields = block.split("\n").map((line) => /^(\w+): ?(.*)$/.exec(line) || []);
  return {name: fields.find(([, key]) => key === "event")?.[2], data: fields.filter(([, key]) => key === "data").map(([, , value]) => value).join("\n")};
}
