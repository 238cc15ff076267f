"""The checks of `pemt doctor`. They start with the standard library alone, so that they run where all else fails."""
