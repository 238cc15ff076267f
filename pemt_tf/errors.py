"""The one exception that reaches users as a single line."""


class PemtError(Exception):
    """Bad input or bad surroundings, told in one sentence: what, where, and how to fix it.

    Every command line catches it, prints `error: <message>` and exits with code 2.
    """


class ArgumentError(PemtError, ValueError):
    """An argument of a layer, a model or a loss that is not allowed; a ValueError, as Keras' own layers raise."""
