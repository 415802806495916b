"""How the page looks, in a real browser: readable, described, narrow, and as pictures."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, Watched
from live_service import Live, live
from page_driving import NAMES, SCHEMES, cells, open_page, text_field
from playwright.sync_api import expect

import lmserve
from lmserve.language_model import LanguageModel

SENTENCE = "w0 w1 unheard w2"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_is_readable_on_every_shade(browser: Browser, page_service: Live, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    open_page(page, page_service)
    contrasts = page.evaluate(CONTRASTS, ["#scale span", "#scale small", "#what", "#find", "label"])
    assert len(contrasts) > 2 * 9
    assert min(contrasts) >= 4.5
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, paper.strip("rgb()").split(","))) / 3
    assert brightness > 240 if scheme == "light" else brightness < 40
    page.close()


def test_the_page_fits_a_narrow_screen(browser: Browser, page_service: Live) -> None:
    page = browser.new_page(viewport={"width": 340, "height": 700})
    open_page(page, page_service)
    text_field(page).fill("w0 " * 40)
    expect(cells(page, "small")).to_have_count(40)
    assert page.evaluate("document.documentElement.scrollWidth") <= 340
    page.close()


def test_everything_that_takes_input_has_a_name(page: Page) -> None:
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, textarea, button")]
            .filter(one => !one.labels?.length && !one.ariaLabel && !one.textContent.trim())
            .map(one => one.outerHTML)"""
    )
    assert unnamed == []


def test_the_interface_is_described_without_other_servers(
    browser: Browser, page_service: Live
) -> None:
    watched = Watched(browser)
    page = watched.page
    url = f"http://127.0.0.1:{page_service.port}"
    page.goto(f"{url}/docs")
    document = json.loads(page.request.get(f"{url}/openapi.json").body())
    routes = [
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    ]
    schemas = list(document["components"]["schemas"])
    expect(page.locator(".route h2")).to_have_text([*routes, *schemas])
    expect(page.get_by_text(f"curl -s {url}/v1/score \\").first).to_be_visible()
    assert watched.hosts == {f"127.0.0.1:{page_service.port}"}
    assert not watched.complaints
    page.close()


def test_pictures_for_the_documentation(
    browser: Browser, page_models: tuple[LanguageModel, ...], tmp_path: Path
) -> None:
    """Into LMSERVE_SCREENSHOTS; of the models in the folders of LMSERVE_PAGE_MODELS, if given."""
    to = Path(os.environ.get("LMSERVE_SCREENSHOTS", tmp_path))
    folders = [Path(one) for one in os.environ.get("LMSERVE_PAGE_MODELS", "").split(":") if one]
    shown = [lmserve.load(one) for one in folders] or page_models
    names = [one.name for one in folders] or NAMES
    text = os.environ.get("LMSERVE_PAGE_TEXT", f"{SENTENCE}\nw0 w3 w1 ")
    with live(*shown, names=names) as service:
        for scheme, picture in zip(SCHEMES, ("page.png", "page-dark.png"), strict=True):
            take_picture(browser, service, names, text, scheme, to / picture)
            assert (to / picture).stat().st_size > 20_000


def take_picture(
    browser: Browser, service: Live, names: Sequence[str], text: str, scheme: Any, path: Path
) -> None:
    """The top of the page when the models have read a text."""
    page = browser.new_page(
        color_scheme=scheme, viewport={"width": 960, "height": 1000}, device_scale_factor=1.5
    )
    open_page(page, service)
    for name in names[1:]:
        page.get_by_role("checkbox", name=name).check()
    text_field(page).fill(text)
    expect(page.get_by_role("status").first).to_contain_text("perplexity", timeout=120_000)
    expect(page.locator("#rows td:text-is('…'), #rows .old")).to_have_count(0)
    page.screenshot(path=path)
    page.close()


# The contrast of each element's text with what is behind it, as WCAG 2 computes it.
CONTRASTS = """selectors => {
    const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
        .getContext("2d", {willReadFrequently: true});
    const luminance = colour => {
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        const linear = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map(byte => {
            const part = byte / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const behind = one => {
        const colour = getComputedStyle(one).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? behind(one.parentElement) : colour;
    };
    return selectors.flatMap(selector => [...document.querySelectorAll(selector)]).map(one => {
        const both = [getComputedStyle(one).color, behind(one)].map(luminance);
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    });
}"""
