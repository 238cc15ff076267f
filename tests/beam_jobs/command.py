"""Runs the command as a user would, and looks at what it left."""

from beam_jobs.preprocess import main


def run(capsys, *arguments):
    """Exit code, standard output and standard error of the command."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, output, *arguments, keeps_shards=False):
    """Runs what must fail; returns the one line that it says. Nothing may be left that looks complete."""
    code, out, err = run(capsys, *arguments, "--output", output)
    assert code == 2 and out == ""
    lines = [line for line in err.splitlines() if not line.startswith("clips ")]  # without the progress line
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    assert not (output / "dataset_card.json").exists()
    assert bool(list(output.parent.glob(f".{output.name}*"))) == keeps_shards
    return lines[0]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("dataset_card.json", "report.html")  # which hold the command
    }
