"""The parts of `python -m beam_jobs.embed`."""
