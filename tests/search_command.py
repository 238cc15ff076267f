"""`pemt search` as a user calls it."""

from __future__ import annotations

import json

from pemt_tf import cli


def run(capsys, *arguments):
    code = cli.main(["search", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def found(capsys, *arguments):
    """The hits of a search that must succeed."""
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def refused(capsys, *arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err
