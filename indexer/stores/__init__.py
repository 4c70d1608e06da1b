"""The catalogue (the truth) and what lies beside it: originals, the versions of URLs."""
