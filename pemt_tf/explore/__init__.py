"""A page to explore embeddings with: a map of the clips, their neighbours, pictures and playback (`write_explorer`)."""
