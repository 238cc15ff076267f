"""Apache Beam jobs: `python -m beam_jobs.preprocess` turns videos into training records.

Importing this package imports nothing: the decoding processes stay small.
"""
