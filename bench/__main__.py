"""All benchmarks, one after the other."""

from bench import bulk, encoder, filters, http, index, ingest, memory, reembed, search, start, writes

encoder.run()
search.run()
filters.run()
index.run(100_000)
writes.run()
http.run()
ingest.run()
bulk.run()
reembed.run()
memory.run()
start.run()
