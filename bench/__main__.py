"""All benchmarks, one after the other."""

from bench import encoder, filters, index, ingest, memory, search

encoder.run()
search.run()
filters.run()
index.run(100_000)
ingest.run()
memory.run()
