"""A demonstration that needs no download: a small language model of bytes, its draft modules, and what they reach."""
