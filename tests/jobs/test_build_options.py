"""`lmserve build` told how to smooth, what to leave out and where to work."""

from pathlib import Path

import pytest
from programs import output, run

import lmserve


def test_a_build_as_it_is_told(tiny_text: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    command = ["build", tiny_text, "-o", model, "--order", 3, "--workers", 1]
    command += ["--discounts", "0.5,1,1.5", "--discounts", "D1=0.6 D2=1.1 D3+=1.4"]
    command += ["--discounts", "0.7 1 2", "--prune", "0 0 1", "--vocab-size", 50]
    result = run(*command, "--temp-dir", tmp_path / "temporary")
    assert result.returncode == 0, result.stderr
    manifest = lmserve.load(model, check=True).manifest
    assert [list(discounts) for discounts in manifest.discounts] == [
        [0.5, 1, 1.5], [0.6, 1.1, 1.4], [0.7, 1, 2],
    ]  # fmt: skip
    assert manifest.pruning == [0, 0, 1]
    assert manifest.ngrams[0] == 53
    for word in ("wall s", "I/O s", "MB written", "scatter", "Temporary disk", "D3+"):
        assert word in result.stderr
    other = tmp_path / "other"
    add_k = ["--smoothing", "add-k", "--add-k", 0.5]
    output("build", tiny_text, "-o", other, "--order", 2, "--workers", 1, *add_k)
    assert lmserve.load(other).manifest.smoothing == "add-k"


@pytest.mark.parametrize(
    ("options", "problem", "remedy"),
    [
        (["--prune", "1"], "do not begin with 0", "--vocab-size"),
        (["--prune", "some"], "'some' are no pruning thresholds", "0 0 1"),
        (["--discounts", "1,2"], "'1,2' is not the discounts of an order", "three numbers"),
        (["--discounts", "1,2,3"], "discounts are given for 1 orders", "every order"),
        (["--add-k", "0"], "k = 0 cannot be added", "above 0"),
        (["--backoff-factor", "2"], "2 is no factor", "at most 1"),
        (["--vocab-size", "0"], "size is 0", "1 word or more"),
        (["--vocab-size", "1", "--vocab-file", "x"], "limited to 1 words and to", "either"),
    ],
)
def test_options_that_make_no_model(
    tmp_path: Path, options: list[str], problem: str, remedy: str
) -> None:
    result = run("build", "text", "-o", tmp_path / "out", *options)
    assert result.returncode == 2, result.stderr
    assert problem in result.stderr
    assert remedy in result.stderr
