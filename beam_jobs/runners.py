"""Beam's options from the command line, and which runner runs."""

from __future__ import annotations

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

from pemt_tf.errors import PemtError

# The in-process runner by name: since Beam 2.68 "DirectRunner" first tries to download another runner.
IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
IN_PROCESS_NAMES = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner", "in_process")


def beam_options(runner: str, num_workers: int | None, arguments: list[str]) -> PipelineOptions:
    """Builds Beam's options.

    Args:
        runner: as typed; the names of Beam's local runners all mean the in-process one.
        num_workers: local threads, each with a decoding process of its own, or workers of a remote runner.
        arguments: flags that are not ours.

    Raises:
        PemtError: Beam does not know a flag either.
    """
    _refuse_unknown(arguments)
    chosen = list(arguments)
    if runner.lower() in (name.lower() for name in IN_PROCESS_NAMES):
        chosen.append(f"--runner={IN_PROCESS}")
        if num_workers is not None and num_workers > 1:
            # Threads are enough: decoding, which takes the time, is done by one process per thread.
            chosen += ["--direct_running_mode=multi_threading", f"--direct_num_workers={num_workers}"]
    else:
        chosen.append(f"--runner={runner}")
        if num_workers is not None:
            chosen.append(f"--num_workers={num_workers}")
    return PipelineOptions(chosen)


def _refuse_unknown(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, conflict_handler="resolve", exit_on_error=False
    )
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)
    try:
        unknown = parser.parse_known_args(arguments)[1]
    except argparse.ArgumentError as error:
        raise PemtError(f"Beam refuses an option: {error}") from None
    if unknown:
        raise PemtError(f"unknown option {unknown[0]}; neither this job (see --help) nor Apache Beam has it")
