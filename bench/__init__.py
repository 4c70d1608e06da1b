"""Benchmarks; each prints a table of one run on one machine. `make bench` runs all."""
