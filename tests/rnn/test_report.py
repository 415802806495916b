"""Pages, pictures and numbers of what was measured, and the job that writes them."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jobs.gradient_report import gradient_report
from lmserve.errors import CorruptModelError, OptionError
from lmserve.pages.html import page, table
from lmserve.rnn.checkpoints import Epoch
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.pictures import draw_gradients, draw_lags, draw_learning, png, svg
from lmserve.rnn.probing import LagCurve
from lmserve.rnn.report import Probed, clipped_part, models_page, read_logs
from lmserve.rnn.step_log import STEPS_FILE, Log

PNG = b"\x89PNG\r\n\x1a\n"
CURVE = LagCurve(
    layer=0,
    lags=(0, 1, 2),
    norms=(1.0, 0.1, 0.001),
    means=(1.0, 0.05, 0.0),
    bound=(1.0, 0.3, math.inf),
    weight_norm=1.2,
    weight_radius=None,
)
LOG = Log(
    step=20,
    epoch=0.5,
    done=0.25,
    loss=6.5,
    norm=0.7,
    largest_norm=2.0,
    clipped_norm=0.25,
    clipped=0.5,
    skipped=0,
    groups={"embedding": 0.3, "cells.0": 0.6},
    rate=0.01,
    tokens_per_s=100.0,
)


class Outline(HTMLParser):
    """Tags that were never closed or opened, addresses, and what is to be read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def probed(recurrent_path: Path) -> Probed:
    manifest = RecurrentManifest.read(recurrent_path)
    return Probed("a <b> & 'c'", manifest, read_logs(recurrent_path), [CURVE])


@pytest.fixture(scope="module")
def html(probed: Probed) -> str:
    return models_page([probed])


def test_the_page_asks_for_nothing_and_is_well_formed(html: str) -> None:
    outline = Outline(html)
    assert outline.open == []
    assert len(outline.addresses) == 3
    assert all(address.startswith("data:image/svg+xml;base64,") for address in outline.addresses)
    assert not re.search(r"(?:src|href|url\(|@import)\W*https?://", html)
    assert "<script" not in html
    assert "prefers-color-scheme: dark" in html


def test_the_page_tells_what_was_trained(html: str, probed: Probed) -> None:
    text = Outline(html).text
    manifest = probed.manifest
    for told in ("learning_rate", "hidden_size", "steps not applied", manifest.digest):
        assert told in text
    for epoch in manifest.epochs:
        assert f"{epoch.valid_perplexity:,.6g}" in text


def test_texts_are_escaped(html: str) -> None:
    assert "a <b>" not in html
    assert Outline(html).text.count("a <b> & 'c'") >= 2
    assert "<i>" not in page("<i>", [table("<i>", ["<i>"], [["<i>"]])])


def test_a_model_without_a_log_has_a_page_too(probed: Probed) -> None:
    outline = Outline(models_page([replace(probed, logs=[])]))
    assert len(outline.addresses) == 1
    assert STEPS_FILE in outline.text


def test_the_clipped_part_counts_every_step_once() -> None:
    logs = [LOG, replace(LOG, step=25, clipped=1.0)]
    assert clipped_part(logs) == pytest.approx((20 * 0.5 + 5) / 25)


def test_what_is_not_finite_is_read_back(tmp_path: Path) -> None:
    line = (
        '{"step": 20, "epoch": 1, "done": 1, "loss": null, "norm": null, "largest_norm": null,'
        '"clipped_norm": null, "clipped": 0.0, "skipped": 3, "groups": {"output": null},'
        '"rate": 0.1, "tokens_per_s": 5.0}\n'
    )
    (tmp_path / STEPS_FILE).write_text(line)
    (log,) = read_logs(tmp_path)
    assert math.isnan(log.loss)
    assert math.isnan(log.groups["output"])
    assert log.skipped == 3


def test_a_folder_without_a_log_has_no_steps(tmp_path: Path) -> None:
    assert read_logs(tmp_path) == []


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"groups": {}}', "7"])
def test_a_damaged_log_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / STEPS_FILE).write_text(line + "\n")
    with pytest.raises(CorruptModelError, match=STEPS_FILE):
        read_logs(tmp_path)


def test_pictures_are_png_and_svg() -> None:
    epoch = Epoch(epoch=1, train_perplexity=9.0, valid_perplexity=8.0, seconds=1.0, averaged=False)
    nan = replace(LOG, step=40, loss=math.nan, norm=math.nan, largest_norm=math.nan)
    for figure in (
        draw_learning([LOG, nan], [epoch]),
        draw_gradients([LOG, nan], 0.25),
        draw_lags({"one": {"x": CURVE}}),
    ):
        assert png(figure).startswith(PNG)
    assert b"<svg" in svg(figure)


def test_the_curve_its_bound_and_the_clip_line_are_drawn() -> None:
    (panel,) = draw_lags({"one": {"x": CURVE}}).axes
    lines = {(line.get_label(), line.get_linestyle()) for line in panel.get_lines()}
    assert ("x", "-") in lines
    drawn = [list(np.asarray(line.get_ydata())) for line in panel.get_lines()]
    assert list(CURVE.norms) in drawn
    assert list(CURVE.bound or ()) in drawn
    assert panel.get_yscale() == "log"
    labels = [line.get_label() for line in draw_gradients([LOG], 0.25).axes[0].get_lines()]
    assert "clipped at 0.25" in labels
    labels = [line.get_label() for line in draw_gradients([LOG], None).axes[0].get_lines()]
    assert not any("clipped at" in str(label) for label in labels)


def test_the_job_probes_models(
    recurrent_path: Path, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    gradient_report([str(texts[0])], tmp_path, [recurrent_path], lags=5, windows=1)
    (facts,) = json.loads((tmp_path / "gradients.json").read_text()).values()
    assert [layer["layer"] for layer in facts["layers"]] == [0, 1]
    assert all(len(layer["norms"]) == 6 for layer in facts["layers"])
    assert (tmp_path / "lags.png").read_bytes().startswith(PNG)
    assert str(recurrent_path) in (tmp_path / "gradients.html").read_text()


@pytest.mark.parametrize("experiment", [False, True])
def test_models_or_an_experiment_are_wanted(tmp_path: Path, *, experiment: bool) -> None:
    models = [tmp_path] if experiment else None
    with pytest.raises(OptionError, match="experiment"):
        gradient_report(["x"], tmp_path / "out", models, experiment=experiment)
    assert not (tmp_path / "out").exists()
