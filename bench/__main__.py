"""All benchmarks, one after the other."""

from bench import encoder, ingest, memory, search

encoder.run()
search.run()
ingest.run()
memory.run()
