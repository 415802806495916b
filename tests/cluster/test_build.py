"""Builds on a real Ray: any number of workers, and everything that is refused."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray

import lmserve
from cluster.build import build
from cluster.config import BuildConfig
from cluster.progress import Silent
from lmserve.errors import BuildError, InputError, OptionError
from lmserve.text.special_tokens import SpecialTokens

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_digest_is_the_same_for_any_number_of_workers(
    text: Path, tmp_path: Path, expected: str, workers: int
) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4, workers=workers)
    assert build(config).digest == expected
    summary = json.loads((config.output / "build.json").read_text())
    assert summary["workers"] == workers
    stages = [stage["name"] for stage in summary["stages"]]
    after_start = "tokenize rank scatter count discount smooth order finish"
    assert stages == ["start Ray", "start workers", *after_start.split()]
    assert not (tmp_path / "model.building").exists()


def test_text_that_changed_meanwhile_is_noticed(text: Path, tmp_path: Path) -> None:
    copy = tmp_path / "text"
    copy.write_bytes(text.read_bytes())

    class Append(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "tokenize":
                with copy.open("a") as file:
                    file.write("one more line\n")

    config = BuildConfig(inputs=(str(copy),), output=tmp_path / "model")
    with pytest.raises(BuildError, match="was changed while it was being read"):
        build(config, Append(), on_ray=False)


def test_two_builds_keep_out_of_each_others_way(text: Path, tmp_path: Path) -> None:
    config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=2)

    class Second(Silent):
        def stage_started(self, name: str, total: int) -> None:
            if name == "scatter":
                for other in (config, replace(config, resume=True)):
                    with pytest.raises(BuildError, match="another build is at work"):
                        build(other, on_ray=False)

    build(config, Second(), on_ray=False)


def test_what_is_no_model_is_never_overwritten(tiny_text: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "folder" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for output in (thesis.parent, thesis, thesis.parent / "x" / "..", Path("/")):
        config = BuildConfig(inputs=(str(tiny_text),), output=output, overwrite=True)
        with pytest.raises(BuildError, match="exists and is no model; it is not touched"):
            build(config, on_ray=False)
    assert thesis.read_text() == "years of work"
    config = BuildConfig(inputs=(str(tiny_text),), output=thesis / "model")
    with pytest.raises(BuildError, match="cannot be made"):
        build(config, on_ray=False)


def test_a_pipe_that_only_one_process_can_read_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    config = BuildConfig(inputs=(str(tmp_path / "pipe"),), output=tmp_path / "model")
    with pytest.raises(InputError, match="is a pipe or a device"):
        build(config, on_ray=False)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_refused_text_from_a_pipe_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    pipe.write_bytes(b"a b\n<s> c\n")
    with pipe.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        config = BuildConfig(inputs=("-",), output=tmp_path / "model")
        with pytest.raises(InputError, match="line 2: the text holds <s>") as error:
            build(config, on_ray=False)
    kept = tmp_path / "model.stdin.txt"
    assert str(kept) in error.value.remedy
    assert kept.read_bytes() == pipe.read_bytes()
    assert not (tmp_path / "model.building").exists()


def test_a_busy_cluster_slows_a_build_and_does_not_stop_it(
    text: Path, tmp_path: Path, expected: str
) -> None:
    """Other work holds all processors but one: the workers that start do it all."""
    blocker = ray.remote(num_cpus=5)(Silent).remote()
    ray.get(blocker.__ray_ready__.remote())
    try:
        config = BuildConfig(inputs=(str(text),), output=tmp_path / "model", order=4, workers=3)
        assert build(config).digest == expected
    finally:
        ray.kill(blocker)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a b\n\nc <s> d\n", {}, r"text, line 3: the text holds <s>"),
        (b"a\n<unk>\n", {}, r"text, line 2: the text holds <unk>"),
        (b"a\n</s>", {"special_tokens": SpecialTokens.KEEP_UNK}, r"line 2: the text holds </s>"),
        (b"\x00\x01\x02", {}, r"line 1: a zero byte"),
        (b"\n\n \n", {}, "the input holds no word"),
        (b"", {}, "the input is empty"),
    ],
)
def test_text_that_cannot_be_counted_is_refused(
    tmp_path: Path, content: bytes, options: dict[str, SpecialTokens], message: str
) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    config = BuildConfig(inputs=(str(path),), output=tmp_path / "model", workers=1, **options)
    with pytest.raises(InputError, match=message):
        build(config)
    assert [file.name for file in tmp_path.iterdir()] == ["text"]


def test_special_tokens_can_be_dropped(tmp_path: Path, tiny_text: Path) -> None:
    marked = tmp_path / "marked"
    marked.write_text(
        tiny_text.read_text().replace("\n", " </s> <unk>\n").replace("w1 ", "<s> w1 ")
    )
    digests = []
    for name, path in (("1", tiny_text), ("2", marked)):
        config = BuildConfig(
            inputs=(str(path),),
            output=tmp_path / name,
            order=3,
            workers=1,
            special_tokens=SpecialTokens.SPACE,
        )
        digests.append(build(config).digest)
    assert digests[0] == digests[1]


def test_an_existing_model_is_replaced_only_when_told(
    tmp_path: Path, tiny_text: Path, text: Path
) -> None:
    config = BuildConfig(inputs=(str(tiny_text),), output=tmp_path / "model", order=2, workers=1)
    first = build(config).digest
    config = replace(config, inputs=(str(text),))
    with pytest.raises(BuildError, match="exists already"):
        build(config)
    assert lmserve.load(config.output).digest == first
    second = build(replace(config, overwrite=True)).digest
    assert lmserve.load(config.output).digest == second != first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_more_workers_than_processors_are_refused(tmp_path: Path, tiny_text: Path) -> None:
    config = BuildConfig(inputs=(str(tiny_text),), output=tmp_path / "model", workers=7)
    with pytest.raises(OptionError, match="7 workers on a cluster of 6 processors"):
        build(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "order is 0"),
        ({"order": 33}, "order is 33"),
        ({"workers": 0}, "workers is 0"),
        ({"memory_bytes": 1000}, "memory is 1,000 bytes"),
        ({"inputs": ("-", "text")}, "standard input"),
    ],
)
def test_settings_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BuildConfig(**{"inputs": ("text",), "output": Path("model"), **options})  # type: ignore[arg-type]
