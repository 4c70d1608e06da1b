"""All benchmarks, one after the other."""

from bench import encoder, search

encoder.run()
search.run()
