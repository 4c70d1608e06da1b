"""Snapshots: a data folder as it is at one moment, put elsewhere while writes go on, and brought back."""
