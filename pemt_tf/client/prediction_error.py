"""Errors of requests, with what to do about them."""

from __future__ import annotations

import re

from pemt_tf.client.connection_fault import connection_fault
from pemt_tf.errors import PemtError

_ASSERTION = "assertion failed: ["
_NODE = re.compile(r"\{\{[^}]*\}\}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+")
_TOO_LARGE = re.compile(r"larger than max|HTTP 413")
# Refusals of a busy server, which may accept the same request later. The first two are those of gRPC in C++ and in
# Python, the third that of a batching server, the last those of proxies.
_BUSY = re.compile(r"threadpool exhausted|concurrent rpc limit|queue .*is full|too many requests|HTTP 429", re.I)
# What gRPC puts before the reason: how it tried, the address (there may be several) and that it failed.
_GRPC_HEAD = re.compile(r"^.*last error: (\w+: )?(ipv[46]:\S+: )?(Failed to connect to remote host: )?")
_CLOSED = re.compile(r"socket closed|reset by peer|closed connection|eof occurred", re.I)
_OUT_OF_MEMORY = re.compile(r"\bOOM\b|out of memory", re.I)
_LONGEST = 600


class Code:
    """gRPC's names of the reasons for which requests fail."""

    INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE = "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE"
    DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"
    FAILED_PRECONDITION, INTERNAL, UNIMPLEMENTED = "FAILED_PRECONDITION", "INTERNAL", "UNIMPLEMENTED"
    UNAUTHENTICATED, PERMISSION_DENIED = "UNAUTHENTICATED", "PERMISSION_DENIED"


class PredictionError(PemtError):
    """A request failed.

    Attributes:
        code: gRPC's name of the reason, such as `UNAVAILABLE`; over REST it follows from the HTTP status.
        again: whether the same request may succeed later.
        reason: the message of the server or the network, without advice.
    """

    def __init__(self, code: str, message: str, again: bool | None = None, reason: str = ""):
        super().__init__(message)
        self.code, self.reason = code, reason
        self.again = code == Code.UNAVAILABLE if again is None else again


def server_sentence(message: str) -> str:
    """The part of a message that is for people: the sentence of a failed check, or the line before the failed node."""
    start = message.find(_ASSERTION)
    if start >= 0:
        sentence = message[start + len(_ASSERTION) :].split("\n", 1)[0].rstrip()
        return sentence.removesuffix("]").replace('\\"', '"')
    message = message.partition(", value: ")[0]  # a damaged record follows, byte by byte
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    node = next((number for number, line in enumerate(lines) if line.startswith("[[")), 0)
    line = _CONTROL.sub(" ", _NODE.sub("", lines[max(node - 1, 0)])).strip() if lines else ""
    return line[:_LONGEST] or "no reason given"


def explain(code: str, message: str, server: str, asked: str, timeout: float) -> PredictionError:
    """The error for a code and a message."""
    said, again = server_sentence(message), code == Code.UNAVAILABLE
    fault = connection_fault(message) if code == Code.UNAVAILABLE else None
    if fault:
        return PredictionError(Code.UNIMPLEMENTED, f"{server} {fault}", reason=fault)
    busy = code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED) and _BUSY.search(message)
    if busy and not (_OUT_OF_MEMORY.search(message) or _TOO_LARGE.search(message)):
        again = True
        text = (
            f"{server} is too busy ({said}); ask from fewer clients at once, or give the server more threads "
            "(--grpc_max_threads)"
        )
    elif code == Code.UNAVAILABLE:
        said = _GRPC_HEAD.sub("", said)
        closed = " Or does it want TLS (--tls)?" if _CLOSED.search(message) else ""
        text = f"cannot reach {server} ({said}); is the server running, and is this its port?{closed}"
    elif code == Code.DEADLINE_EXCEEDED:
        text = f"{server} did not answer within {timeout:g} s; raise --timeout, or send fewer clips at once (--batch)"
    elif code == Code.NOT_FOUND:
        text = f"{server} does not serve {asked}: {said}"
    elif code == Code.RESOURCE_EXHAUSTED and _TOO_LARGE.search(message):
        advice = too_large_advice("give --max-message-mb below that")
        text = f"{server} does not take a request of this size: {said}; {advice}"
    elif code == Code.INVALID_ARGUMENT:
        text = f"{server} refuses the request: {said}"
    elif code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
        text = f"{server} refuses access with {code}: {said}; give --token-file or --header"
    else:
        text = f"{server} failed with {code}: {said}"
    return PredictionError(code, text, again, said)


def too_large_advice(last: str = "raise --max-message-mb") -> str:
    """Advice on a message that is too large."""
    return f"send records instead of raw frames, fewer clips at once (--batch), or {last}"


def too_large(what: str, size: int, limit: int) -> PredictionError:
    """The error for a message that this side does not send or accept; sizes in bytes."""
    text = f"{what} of {size / 1e6:.1f} MB is above the limit of {limit / 1e6:.1f} MB; {too_large_advice()}"
    return PredictionError(Code.RESOURCE_EXHAUSTED, text)
