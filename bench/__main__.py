"""All benchmarks, one after the other."""

from bench import encoder, filters, ingest, memory, search

encoder.run()
search.run()
filters.run()
ingest.run()
memory.run()
