"""The style of all command lines: spellings, suggestions, one line for bad input, defaults in `--help`."""

from __future__ import annotations

import pytest

from beam_jobs import convert, embed, flink, preprocess
from beam_jobs.datasets.__main__ import build_parser as datasets_parser
from pemt_tf import cli
from pemt_tf.terminal.flags import FlagParser


@pytest.fixture
def parser():
    parser = FlagParser(prog="try")
    parser.add_argument("--max-steps", type=int, default=7, help="when to stop")
    parser.add_argument("--short_side", type=int, help="pixels")
    parser.add_argument("--plan", choices=("uniform", "windows"), default="uniform", help="which (default: one)")
    parser.add_argument("--quiet", action="store_true", help="say less")
    return parser


@pytest.mark.parametrize("words", [("--max-steps", "3", "--short_side=4"), ("--max_steps=3", "--short-side", "4")])
def test_both_spellings_are_one_flag(parser, words):
    options = parser.parse_args(words)
    assert (options.max_steps, options.short_side) == (3, 4)


def test_values_and_what_follows_two_dashes_keep_their_spelling():
    parser = FlagParser()
    parser.add_argument("--set", action="append")
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args(["--set=pretrain.batch_size=2", "--set", "a_b=c-d", "--", "--s_e_t", "a-b"])
    assert options.set == ["pretrain.batch_size=2", "a_b=c-d"] and options.rest == ["--s_e_t", "a-b"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--max-step5=3"], "unknown option --max-step5; did you mean --max-steps?"),
        (["--entirely-other"], "unknown option --entirely-other"),
        (["here.mp4"], "stray argument 'here.mp4': it belongs to no flag"),
        (["--plan", "window"], "argument --plan: 'window' is not one of uniform, windows; did you mean windows?"),
        (["--max-steps=x"], "argument --max-steps: invalid int value: 'x'"),
    ],
)
def test_bad_input_is_one_line(parser, capsys, words, line):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {line}; see `try --help`\n"


def test_help_has_each_default_once(parser):
    text = parser.format_help()
    assert "when to stop (default: 7)" in text and "which (default: one)\n" in text
    assert "pixels\n" in text and "say less\n" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pretain"], "did you mean pretrain?; see `pemt --help`"),
        (["pretrain", "--data=x", "--ouput=y"], "unknown option --ouput; did you mean --output?"),
        (["pretrain", "--data", "x", "--output", "y", "z"], "stray argument 'z'"),
    ],
)
def test_commands_suggest_their_own_flags(capsys, words, line):
    with pytest.raises(SystemExit):
        cli.main(words)
    assert line in capsys.readouterr().err


def test_jobs_suggest_their_own_flags_and_leave_those_of_beam(capsys):
    parsed, rest = preprocess.build_parser().parse_known_args(["--max-bad-fraction=0.5", "--temp_location=x"])
    assert parsed.max_bad_fraction == 0.5 and rest == ["--temp_location=x"]

    assert preprocess.main(["--input", "x", "--output", "y", "--max_bad_fracton=1", "--runner=local"]) == 2
    assert capsys.readouterr().err.endswith("did you mean --max_bad_fraction?\n")
    assert preprocess.main(["--inptu=x", "--output", "y", "--project=input"]) == 2
    assert capsys.readouterr().err.endswith("; --inptu is unknown; did you mean --input?\n")
    with pytest.raises(SystemExit):
        convert.main(["--inptu", "x", "--output=y", "--format=parquet"])
    assert "required: --input; --inptu is unknown; did you mean --input?; see" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        preprocess.main(["videos/"])
    assert "stray argument 'videos/'" in capsys.readouterr().err


def all_parsers():
    for parser in (cli.make_parser(), datasets_parser()):
        (commands,) = (action for action in parser._actions if action.choices)
        yield from commands.choices.values()
    yield from (module.build_parser() for module in (preprocess, convert, embed, flink))


@pytest.mark.parametrize("parser", all_parsers(), ids=lambda parser: parser.prog)
def test_every_command_line_says_its_defaults(parser):
    for action in parser._actions:
        if (
            action.option_strings
            and action.default is not False
            and action.default not in (None, "", [], "==SUPPRESS==")
        ):
            assert "default" in parser._get_formatter()._expand_help(action), action.option_strings
