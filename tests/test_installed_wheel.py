"""The wheel in fresh environments of two Pythons, used as its users do: from videos to a prediction."""

from __future__ import annotations

import json
import shlex
import zipfile

import pytest
import yaml

from tests import media_files as media
from tests.conftest import SMALL
from tests.fresh_environment import build_wheel, fresh_environment, needs_uv, pythons

pytestmark = [pytest.mark.slow, needs_uv]
SHORT = ("--set", "pretrain.steps=2", "--set", "finetune.steps=2")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("place", [0, -1], ids=["oldest_python", "newest_python"])
def test_from_videos_to_a_prediction(wheel, tmp_path, place):
    versions = list(pythons())
    if place == -1 and len(versions) == 1:
        pytest.skip("this machine has one Python from 3.10 to 3.13 only")
    with fresh_environment(tmp_path, versions[place], wheel) as environment:
        environment.install("pemt-tf")
        for number in range(8):
            split, label = ("test" if number > 5 else "train"), ("dog", "cat")[number % 2]
            tone = media.sine(400.0 + 100 * number)
            media.write_video(environment.work / "videos" / split / label / f"{number}.mp4", tone=tone)
        (environment.work / "small.yaml").write_text(yaml.safe_dump(SMALL))
        preset = ("--preset", "small.yaml")

        code = "import pemt_tf, sys; print(*sys.version_info[:2], pemt_tf.__file__)"
        *version, file = environment.run("python", "-c", code).stdout.split()
        assert tuple(map(int, version)) == versions[place] and file.startswith(str(environment.bin.parent))
        prepare = ("python", "-m", "beam_jobs.preprocess", "--input", "videos", "--output", "out/records", *preset)
        assert "8 inputs = 8 written + 0 filtered + 0 failed" in environment.run(*prepare).stdout
        environment.run("pemt", "pretrain", "--data", "out/records", *preset, "--output", "out/pretrained", *SHORT)
        finetune = ("pemt", "finetune", "--data", "out/records", "--init", "out/pretrained")
        environment.run(*finetune, "--output", "out/finetuned", *SHORT)
        environment.run("pemt", "export", "--model", "out/finetuned", "--output", "out/servable")
        predict = ("pemt", "predict", "videos/test/dog/6.mp4", "--model", "out/servable", "--json")
        prediction = json.loads(environment.run(*predict).stdout)

    shares = {each["label"]: each["probability"] for each in prediction["predictions"]}
    assert set(shares) == {"cat", "dog"} and sum(shares.values()) == pytest.approx(1, abs=1e-4)


def other_package(folder):
    """A wheel of another project that brings a command `pemt`, as the one on PyPI does."""
    about = "pemt-1.dist-info"
    with zipfile.ZipFile(folder / "pemt-1-py3-none-any.whl", "w") as archive:
        archive.writestr("pemt/cli.py", "def main():\n    print('patents')\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: pemt\nVersion: 1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", "[console_scripts]\npemt = pemt.cli:main\n")
        archive.writestr(f"{about}/RECORD", "")
    return folder / "pemt-1-py3-none-any.whl"


def test_another_package_with_a_command_pemt(wheel, tmp_path):
    with fresh_environment(tmp_path, list(pythons())[-1], wheel) as environment:
        for package in (wheel, other_package(tmp_path)):
            environment.run("pip", "install", "--quiet", "--no-deps", package)

        def command() -> dict:
            # Nothing that we need is installed, so there are problems, too.
            found = json.loads(environment.run("python", "-m", "pemt_tf.doctor", "--json", code=1).stdout)["findings"]
            return next(each for each in found if each["name"] == "command pemt")

        assert environment.run("pemt").stdout == "patents\n"
        assert command()["status"] == "warning" and "use python -m pemt_tf in its place" in command()["fix"]
        environment.run(*shlex.split(command()["fix"].partition("to replace it: ")[2]))
        assert command()["status"] == "ok" and "pemt_tf.cli" in (environment.bin / "pemt").read_text()
