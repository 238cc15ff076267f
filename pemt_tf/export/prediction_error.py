"""What a server's refusal or silence becomes."""

from __future__ import annotations

import re

from pemt_tf.errors import PemtError

INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE = "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE"
DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"
FAILED_PRECONDITION, INTERNAL = "FAILED_PRECONDITION", "INTERNAL"
_ASSERTION = "assertion failed: ["
_NODE = re.compile(r"\{\{[^}]*\}\}")
_LONGEST = 600


class PredictionError(PemtError):
    """A request had no answer.

    Attributes:
        code: gRPC's name of the reason, as `UNAVAILABLE`; over REST it is that of the HTTP status.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def server_sentence(message: str) -> str:
    """The part of a server's message that is meant for people.

    That is the sentence of a failed check, or else the line before the name of the node in the graph that failed.
    """
    start = message.find(_ASSERTION)
    if start >= 0:
        sentence = message[start + len(_ASSERTION) :].split("\n", 1)[0].rstrip()
        return sentence.removesuffix("]").replace('\\"', '"')
    message = message.partition(", value: ")[0]  # what follows is a damaged record, byte by byte
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    node = next((number for number, line in enumerate(lines) if line.startswith("[[")), 0)
    line = _NODE.sub("", lines[max(node - 1, 0)]).strip() if lines else ""
    return line[:_LONGEST] or "no reason given"


def explain(code: str, message: str, server: str, asked: str, timeout: float) -> PredictionError:
    """The error for a code and a message.

    Args:
        code: gRPC's name.
        message: of the server or the network.
        server: address, for people.
        asked: the model and version that were asked for, for people.
        timeout: seconds that were allowed.
    """
    said = server_sentence(message)
    if code == UNAVAILABLE:
        text = f"cannot reach {server} ({said}); is the server running, and is this its port?"
    elif code == DEADLINE_EXCEEDED:
        text = f"{server} did not answer within {timeout:g} s; raise --timeout, or send fewer clips at once (--batch)"
    elif code == NOT_FOUND:
        text = f"{server} does not serve {asked}: {said}"
    elif code == RESOURCE_EXHAUSTED and "larger than max" in message:
        text = f"{server}: {said}; {too_large_advice()}"
    elif code == INVALID_ARGUMENT:
        text = f"{server} refuses the request: {said}"
    else:
        text = f"{server} failed with {code}: {said}"
    return PredictionError(code, text)


def too_large_advice() -> str:
    """What to do about a message that is too large."""
    return "send records in the place of raw frames, fewer clips at once (--batch), or raise --max-message-mb"


def too_large(what: str, size: int, limit: int) -> PredictionError:
    """The error of a message that this side does not send or take; sizes in bytes."""
    text = f"{what} of {size / 1e6:.1f} MB is above the limit of {limit / 1e6:.1f} MB; {too_large_advice()}"
    return PredictionError(RESOURCE_EXHAUSTED, text)
