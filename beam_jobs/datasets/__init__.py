"""Manifests of public data sets: `python -m beam_jobs.datasets ucf101 --root UCF101 ...`; see docs/recipes.md.

Nothing is downloaded: the user has the data, and this package knows how each set is laid out and split.
"""
