"""The flags of a connection to a model server, shared by the commands that use one."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pemt_tf.client.prediction_client import PredictionClient


def add_model(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """The flags that name a model of a server."""
    add = group.add_argument
    add("--model-name", default="pemt", help="name of the model on the server (default: %(default)s)")
    add("--model-version", type=int, metavar="N", help="its version (default: the latest)")
    add("--version-label", metavar="LABEL", help="label of a version, as stable, instead of a number")


def add_connection(group: argparse._ArgumentGroup | argparse.ArgumentParser, timeout: float = 60.0) -> None:
    """The flags of a connection, except --server; `timeout` is the default of --timeout, seconds."""
    add = group.add_argument
    add("--rest", action="store_true", help="REST instead of gRPC (the port is usually 8501 instead of 8500)")
    add("--timeout", type=float, default=timeout, help="seconds for a request with its retries (default: %(default)g)")
    add("--attempts", type=int, help="number of attempts while the server is unavailable (default: until --timeout)")
    add("--tls", action="store_true", help="encrypt the connection; trusts the system's certificate authorities")
    add("--tls-ca", metavar="FILE", help="PEM file of the certificate authorities to trust instead")
    add("--tls-cert", metavar="FILE", help="PEM file of the client's certificate")
    add("--tls-key", metavar="FILE", help="PEM file of its private key")
    header = "header of every request, with gRPC as metadata; may be repeated"
    add("--header", action="append", default=[], metavar="'NAME: VALUE'", help=header)
    add("--token-file", metavar="FILE", help="file with a token, sent as header 'Authorization: Bearer TOKEN'")


def connect(options: argparse.Namespace, **more: Any) -> PredictionClient:
    """The client that the parsed flags describe; `more` are further arguments of `PredictionClient`."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is told by our errors
    from pemt_tf.client.prediction_client import PredictionClient, ServerAccess
    from pemt_tf.client.server_access import bearer, parsed_header

    headers = [parsed_header(text) for text in options.header]
    if options.token_file is not None:
        headers.append(bearer(options.token_file))
    access = ServerAccess(options.tls, options.tls_ca, options.tls_cert, options.tls_key, tuple(headers))
    given = {"rest": options.rest, "timeout": options.timeout, "attempts": options.attempts, "access": access, **more}
    given["on_wait"] = lambda line: sys.stderr.write(f"{line}\n")
    return PredictionClient(options.server, options.model_name, **given)
