"""Weights trained elsewhere, into our networks: files of many forms, keys of many layouts."""
