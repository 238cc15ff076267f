"""A Google Cloud Storage that runs in this process, on a port of its own, in memory."""

import contextlib
import os
import socket
from unittest import mock

import pytest

BUCKET = "bucket"


@contextlib.contextmanager
def emulated_storage():
    """Starts the emulator; yields a client of it and the list of the requests that it gets.

    Skips where Beam's Google part or the emulator is not installed.
    """
    pytest.importorskip("apache_beam.io.gcp.gcsfilesystem", reason="needs apache-beam[gcp]")
    storage = pytest.importorskip("google.cloud.storage", reason="needs apache-beam[gcp]")
    server = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
    from apache_beam.internal.gcp import auth
    from google.auth.credentials import AnonymousCredentials

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    requests = []

    def note(handler, _format, *arguments):
        requests.append(str(arguments[0]))

    environment = {"STORAGE_EMULATOR_HOST": f"http://localhost:{port}", "NO_GCE_CHECK": "true"}
    # Without credentials Beam asks for them for 20 seconds; what it found it keeps for the process.
    anonymous = {"_credentials_init": True, "_credentials": None}
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.multiple(auth._Credentials, **anonymous),
        mock.patch.object(server.RequestHandler, "log_message", note),
    ):
        emulator = server.create_server("localhost", port, in_memory=True, default_bucket=BUCKET)
        emulator.start()
        try:
            yield storage.Client(project="example", credentials=AnonymousCredentials()), requests
        finally:
            emulator.stop()
