// The columns and first rows of a catalogue's file, read here; those of archives and Parquet only the server reads.

const HEAD_BYTES = 256 * 1024;
const ROWS = 3;
const DELIMITERS = [",", ";", "\t", "|"];

// {columns, rows}, or null where they cannot be told here.
export async function readHead(file) {
  const kind = /\.(csv|tsv|txt|jsonl|ndjson)$/i.exec(file.name)?.[1].toLowerCase();
  if (!kind) return null;
  const text = new TextDecoder().decode(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const whole = file.size > HEAD_BYTES ? text.slice(0, text.lastIndexOf("\n")) : text;
  return /json$|jsonl$/.test(kind) ? ofJsonLines(whole) : ofDelimited(whole);
}

function ofJsonLines(text) {
  try {
    const rows = text.split("\n").filter((line) => line.trim()).slice(0, 50).map((line) => flat(JSON.parse(line)));
    const columns = [...new Set(rows.flatMap(Object.keys))];
    return {columns, rows: rows.slice(0, ROWS).map((row) => columns.map((column) => String(row[column] ?? "")))};
  } catch {
    return null; // the server says what is wrong with it
  }
}

const flat = (value, prefix = "") => Object.fromEntries(Object.entries(value).flatMap(([name, inner]) =>
  inner && typeof inner === "object" && !Array.isArray(inner) ? Object.entries(flat(inner, `${prefix}${name}.`)) : [[`${prefix}${name}`, inner]]));

function ofDelimited(text) {
  const line = text.slice(0, text.search(/[\r\n]|$/));
  const delimiter = DELIMITERS.reduce((best, one) => (line.split(one).length > line.split(best).length ? one : best));
  const [columns, ...rows] = records(text, delimiter, ROWS + 1);
  return columns ? {columns: columns.map((column) => column.trim()), rows} : null;
}

// The first records of RFC 4180: a quoted cell may hold delimiters and line ends, and doubled quotes.
function records(text, delimiter, most) {
  const found = [];
  let [row, cell, quoted] = [[], "", false];
  for (let at = 0; at < text.length && found.length < most; at += 1) {
    const sign = text[at];
    if (quoted) {
      if (sign !== '"') cell += sign;
      else if (text[at + 1] === '"') { cell += sign; at += 1; } else quoted = false;
    } else if (sign === '"' && !cell) quoted = true;
    else if (sign === delimiter) { row.push(cell); cell = ""; }
    else if (sign === "\n" || sign === "\r") {
      if (row.length || cell) found.push([...row, cell]);
      [row, cell] = [[], ""];
    } else cell += sign;
  }
  if ((row.length || cell) && found.length < most) found.push([...row, cell]);
  return found;
}
