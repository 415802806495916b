"""The page in a real browser, before the real service with models of all kinds."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, Watched, running_browser
from corpora import zipf_text
from live_service import Live, live
from mixable import train_network
from playwright.sync_api import Locator, expect
from redis_server import running_redis

import lmserve
from lmserve.language_model import LanguageModel
from lmserve.mixing.combining import Method
from lmserve.mixing.components import check_components
from lmserve.mixing.model import Mixture
from lmserve.scorer import WordScore, perplexity
from lmserve.service.redis_state_store import RedisStateStore
from lmserve.service.state_store import MemoryStateStore

SENTENCE = "w0 w1 unheard w2"
WORDS_SCORED = "lmserve_session_words_total"
NAMES = ("small", "network", "mixed")
SCHEMES = ("light", "dark")

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def models(
    tiny_model: lmserve.NgramModel, tiny_text: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LanguageModel, ...]:
    """An n-gram model, a network, and a mixture of both."""
    folder = train_network(tiny_text, tmp_path_factory.mktemp("network") / "network")
    both = (tiny_model, lmserve.load(folder))
    components = check_components(both, NAMES[:2], Method.LINEAR)
    return (*both, Mixture(components, [0.7, 0.3], Method.LINEAR))


@pytest.fixture(scope="module")
def running(models: tuple[LanguageModel, ...]) -> Iterator[Live]:
    with live(*models, names=NAMES) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, running: Live) -> Iterator[Page]:
    """The page, opened; at the end it must have asked nobody else and complained of nothing."""
    watched = Watched(browser)
    open_page(watched.page, running)
    yield watched.page
    assert watched.hosts == {f"127.0.0.1:{running.port}"}
    assert not watched.complaints
    watched.page.close()


def open_page(page: Page, running: Live) -> None:
    page.set_default_timeout(60_000)
    page.goto(f"http://127.0.0.1:{running.port}/")
    # The first model is asked about its text before anything is drawn.
    expect(page.locator("#model option").first).to_be_attached()


def text_field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Your text")


def cells(page: Page, name: str) -> Locator:
    """The cells of a model's rows."""
    title = page.locator("th[scope=row]").get_by_text(name, exact=True)
    return page.locator("#rows tr").filter(has=title).locator("td")


def bits(scores: list[WordScore]) -> list[float]:
    return [abs(score.log10_prob) / 0.30102999566398120 for score in scores]


def expect_row(page: Page, name: str, scores: list[WordScore]) -> None:
    """The model's numbers are these, and none is an old one."""
    shown = [
        f"{value:.1f}{score.ngram_length or ''}"
        for value, score in zip(bits(scores), scores, strict=True)
    ]
    expect(cells(page, name)).to_have_text(shown)
    expect(page.locator("#rows .old")).to_have_count(0)


def without_end(model: LanguageModel, text: str) -> list[WordScore]:
    return model.score_words(text, eos=False)


def test_words_are_shaded_by_their_surprise_as_they_are_typed(
    page: Page, tiny_model: lmserve.NgramModel
) -> None:
    text_field(page).press_sequentially(f"{SENTENCE} ")
    scores = without_end(tiny_model, SENTENCE)
    expect_row(page, "small", scores)
    marks = page.locator("#mirror .shaded")
    expect(marks).to_have_text(SENTENCE.split())
    shades = marks.evaluate_all(
        "all => all.map(one => Number(one.style.getPropertyValue('--surprise')))"
    )
    assert shades == pytest.approx([min(value / 16, 1) for value in bits(scores)], abs=0.001)
    expect(page.locator("#mirror .oov")).to_have_text("unheard")
    expect(page.locator("#detail")).to_contain_text(f"w2 {bits(scores)[-1]:.1f} bits")


def test_colours_differ_where_surprise_does(page: Page) -> None:
    text_field(page).fill(f"{SENTENCE} ")
    marks = page.locator("#mirror .shaded")
    expect(marks).to_have_count(4)
    colours = marks.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    assert len(set(colours)) == 4


def test_the_word_being_typed_is_scored_when_its_writer_pauses(
    page: Page, tiny_model: lmserve.NgramModel
) -> None:
    text_field(page).press_sequentially("w0 w")
    expect_row(page, "small", without_end(tiny_model, "w0 w"))
    text_field(page).press_sequentially("1")
    expect_row(page, "small", without_end(tiny_model, "w0 w1"))


def test_a_line_is_a_sentence(page: Page, tiny_model: lmserve.NgramModel) -> None:
    text_field(page).fill("w0 w1\n\nw2 w3\n")
    scores = [*tiny_model.score_words("w0 w1"), *tiny_model.score_words("w2 w3")]
    expect_row(page, "small", scores)
    expect(page.locator("#rows th[aria-label='end of sentence']")).to_have_count(2)


def test_a_change_in_the_middle_scores_only_what_comes_after_it(
    page: Page, running: Live, tiny_model: lmserve.NgramModel
) -> None:
    before, after = "w0 w1 w2 w3 w4 w5 w6 w7 ", "w0 w1 w2 w9 w4 w5 w6 w7 "
    field = text_field(page)
    field.fill(before)
    expect_row(page, "small", without_end(tiny_model, before))
    scored = running.count(WORDS_SCORED) or 0
    field.fill(after)
    expect_row(page, "small", without_end(tiny_model, after))
    assert running.count(WORDS_SCORED) == scored + 5
    # Less text needs no scores; what then follows goes on from the last word that is left.
    field.fill("w0 w1 ")
    expect(cells(page, "small")).to_have_count(2)
    field.press_sequentially("w8 ")
    expect_row(page, "small", without_end(tiny_model, "w0 w1 w8"))
    assert running.count(WORDS_SCORED) == scored + 6


def test_suggestions_are_taken_by_keyboard(page: Page, tiny_model: lmserve.NgramModel) -> None:
    field = text_field(page)
    field.press_sequentially("w0 ")
    best = [one.word for one in tiny_model.next_words("w0", top=6)]
    names = ["end of sentence" if word == "</s>" else word for word in best]
    buttons = page.locator("#suggestions button")
    expect(buttons).to_have_count(6)
    assert buttons.evaluate_all("all => all.map(one => one.firstChild.textContent)") == names
    chosen = next(index for index, word in enumerate(best) if word != "</s>")
    for _ in range(chosen + 1):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(field).to_have_value(f"w0 {best[chosen]} ")
    expect(field).to_be_focused()
    expect_row(page, "small", without_end(tiny_model, f"w0 {best[chosen]}"))
    page.keyboard.press("Control+z")
    expect(field).to_have_value("w0 ")


def test_suggestions_fit_what_has_been_typed(page: Page, tiny_model: lmserve.NgramModel) -> None:
    field = text_field(page)
    field.press_sequentially("w0 w1")
    fitting = [
        one.word
        for one in tiny_model.next_words("w0", top=50)
        if one.word.startswith("w1") and one.word != "w1"
    ][:6]
    button = page.get_by_role("button", name=fitting[0])
    button.click()
    expect(field).to_have_value(f"w0 {fitting[0]} ")


def test_a_word_tells_its_n_gram_under_the_pointer(
    page: Page, tiny_model: lmserve.NgramModel
) -> None:
    text_field(page).fill("w0 w1 w2 ")
    expect_row(page, "small", without_end(tiny_model, "w0 w1 w2"))
    first = without_end(tiny_model, "w0")[0]
    place = page.locator("#mirror .shaded").first.evaluate("one => one.getBoundingClientRect()")
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    context = " ".join(["<s>", "w0"][-first.ngram_length :])
    expect(page.locator("#detail")).to_contain_text(f"{first.ngram_length}-gram “{context}”")


def test_models_stand_under_each_other(page: Page, models: tuple[LanguageModel, ...]) -> None:
    text_field(page).fill(f"{SENTENCE} ")
    for name in NAMES[1:]:
        page.get_by_role("checkbox", name=name).check()
    for name, model in zip(NAMES, models, strict=True):
        expect_row(page, name, without_end(model, SENTENCE))
    label = page.get_by_role("img").get_attribute("aria-label") or ""
    shown = re.fullmatch(r"After 4 words: small (\S+), network (\S+), mixed (\S+)", label)
    assert shown
    for value, model in zip(shown.groups(), models, strict=True):
        total = sum(score.log10_prob for score in without_end(model, SENTENCE))
        assert float(value.replace(",", "")) == pytest.approx(perplexity(total, 4), rel=0.006)
    expect(page.locator("#chart polyline")).to_have_count(3)
    page.get_by_role("combobox", name="Shaded by").select_option("network")
    expect(page.get_by_role("checkbox", name="network")).to_be_hidden()
    expect_row(page, "network", without_end(models[1], SENTENCE))


def test_a_word_too_long_is_told_and_the_rest_goes_on(
    page: Page, tiny_model: lmserve.NgramModel
) -> None:
    field = text_field(page)
    field.fill(f"w0 {'x' * 2000} w1 ")
    expect(page.get_by_role("status").first).to_contain_text("A word is longer than 1024 bytes")
    field.fill("w0 w1 ")
    expect_row(page, "small", without_end(tiny_model, "w0 w1"))
    expect(page.get_by_role("status").first).to_contain_text("2 words, perplexity")


@pytest.mark.parametrize("kept", [True, False])
def test_the_page_goes_on_after_the_service_was_away(
    browser: Browser, tiny_model: lmserve.NgramModel, kept: bool
) -> None:
    watched = Watched(browser)
    page = watched.page
    with running_redis() as redis:

        def states() -> Any:
            return RedisStateStore(redis.url) if kept else MemoryStateStore()

        with live(tiny_model, states=states()) as first:
            open_page(page, first)
            text_field(page).press_sequentially("w0 w1 w2 ")
            expect_row(page, "0", without_end(tiny_model, "w0 w1 w2"))
        text_field(page).press_sequentially("w3 ")
        expect(page.get_by_role("status").first).to_contain_text("trying again")
        with live(tiny_model, port=first.port, states=states()) as second:
            expect_row(page, "0", without_end(tiny_model, "w0 w1 w2 w3"))
            assert second.count(WORDS_SCORED) == (1 if kept else 4)
            page.close()


def test_the_strangest_sentences_of_a_text_come_first(
    page: Page, tiny_model: lmserve.NgramModel
) -> None:
    lines = [line for line in zipf_text(700, seed=9).splitlines() if len(line.split()) >= 5]
    assert len(lines) > 2 * 256, "several requests"
    page.get_by_role("textbox", name="A long text").fill("\n".join([*lines, "w0 w1"]))
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#found")).to_have_text(
        f"20 of {len(lines)} sentences, strangest first, to small."
    )
    expected = sorted(lines, key=tiny_model.perplexity, reverse=True)[:20]
    shown = [" ".join(text.split()) for text in page.locator("#strangest p").all_text_contents()]
    assert [tiny_model.perplexity(line) for line in shown] == pytest.approx(
        [tiny_model.perplexity(line) for line in expected]
    )
    expect(page.locator("#progress")).to_be_hidden()
    assert page.locator("#strangest p").first.locator(".shaded").count() == len(shown[0].split())
    page.get_by_role("button", name="Look closer").first.click()
    expect(text_field(page)).to_have_value(shown[0])
    expect_row(page, "small", without_end(tiny_model, shown[0]))


def test_a_file_is_read_where_it_is_chosen_or_dropped(page: Page) -> None:
    page.get_by_label("at least").fill("2")
    text = b"w0 w1 w2\nw3\nw4 w5\n"
    file = {"name": "text.txt", "mimeType": "text/plain", "buffer": text}
    page.get_by_label("Open a file").set_input_files(file)  # type: ignore[arg-type]
    expect(page.locator("#found")).to_contain_text("2 of 2 sentences")
    drop = """text => {
        const data = new DataTransfer();
        data.items.add(new File([text], "other.txt", {type: "text/plain"}));
        const event = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
        document.getElementById("long").dispatchEvent(event);
    }"""
    page.evaluate(drop, "w0 w1\nw2 w3\nw4 w5\n")
    expect(page.locator("#found")).to_contain_text("3 of 3 sentences")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_is_readable_on_every_shade(browser: Browser, running: Live, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    open_page(page, running)
    contrasts = page.evaluate(CONTRASTS, ["#scale span", "#scale small", "#what", "#find", "label"])
    assert len(contrasts) > 2 * 9
    assert min(contrasts) >= 4.5
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, paper.strip("rgb()").split(","))) / 3
    assert brightness > 240 if scheme == "light" else brightness < 40
    page.close()


def test_the_page_fits_a_narrow_screen(browser: Browser, running: Live) -> None:
    page = browser.new_page(viewport={"width": 340, "height": 700})
    open_page(page, running)
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


def test_the_interface_is_described_without_other_servers(browser: Browser, running: Live) -> None:
    watched = Watched(browser)
    page = watched.page
    url = f"http://127.0.0.1:{running.port}"
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
    assert watched.hosts == {f"127.0.0.1:{running.port}"}
    assert not watched.complaints
    page.close()


def test_pictures_for_the_documentation(
    browser: Browser, models: tuple[LanguageModel, ...], tmp_path: Path
) -> None:
    """Into LMSERVE_SCREENSHOTS; of the models in the folders of LMSERVE_PAGE_MODELS, if given."""
    to = Path(os.environ.get("LMSERVE_SCREENSHOTS", tmp_path))
    folders = [Path(one) for one in os.environ.get("LMSERVE_PAGE_MODELS", "").split(":") if one]
    shown = [lmserve.load(one) for one in folders] or models
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
