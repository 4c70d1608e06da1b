"""All benchmarks, one after the other."""

from bench import encoder, filters, ingest, memory, reembed, search

encoder.run()
search.run()
filters.run()
ingest.run()
reembed.run()
memory.run()
