"""The one exception that reaches users as a single line."""


class PemtError(Exception):
    """Bad input or bad surroundings, told in one sentence: what, where, and how to fix it.

    Every command line catches it, prints `error: <message>` and exits with code 2.
    """


class ArgumentError(PemtError, ValueError):
    """An argument of a layer, a model or a loss that is not allowed; a ValueError, as Keras' own layers raise."""


def system_error(error: OSError) -> str:
    """What the operating system says, on one line: `cannot use videos/a.mp4: Permission denied`."""
    said = " ".join(str(error.strerror or error).split()) or type(error).__name__
    return f"cannot use {error.filename}: {said}" if error.filename is not None else said
