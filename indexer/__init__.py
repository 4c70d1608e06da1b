"""Catalogue and search: items, vectors, generations, FAISS segments, fusion, ingest."""
