"""All benchmarks, one after the other."""

from bench import encoder, filters, http, index, ingest, memory, reembed, search, start

encoder.run()
search.run()
filters.run()
index.run(100_000)
http.run()
ingest.run()
reembed.run()
memory.run()
start.run()
