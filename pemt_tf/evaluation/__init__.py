"""Measurements: classification, probes of frozen features, retrieval."""
