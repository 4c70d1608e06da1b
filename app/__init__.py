"""The HTTP face: settings, routes, schemas, problem documents, metrics, the web page, the command line."""

import os

# Read when FAISS and NumPy are loaded. Threads that wait by spinning take the cores that other requests need: where
# these are busy, a batch of FAISS costs four times its processor time, and a small matrix product of NumPy seven times.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
