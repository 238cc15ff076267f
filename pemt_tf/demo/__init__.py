"""The corpus of `make demo`, and the whole way in one command."""
