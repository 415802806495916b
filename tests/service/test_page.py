"""The page in a real browser, before the real service with models of all kinds."""

import re
from typing import Any

import pytest
from browser import Browser, Page, Watched
from corpora import zipf_text
from live_service import Live, live
from page_driving import NAMES, cells, open_page, text_field
from playwright.sync_api import expect
from redis_server import running_redis

import lmserve
from lmserve.language_model import LanguageModel
from lmserve.scorer import WordScore, perplexity
from lmserve.service.redis_state_store import RedisStateStore
from lmserve.service.state_store import MemoryStateStore

SENTENCE = "w0 w1 unheard w2"
WORDS_SCORED = "lmserve_session_words_total"


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
    page: Page, page_service: Live, tiny_model: lmserve.NgramModel
) -> None:
    before, after = "w0 w1 w2 w3 w4 w5 w6 w7 ", "w0 w1 w2 w9 w4 w5 w6 w7 "
    field = text_field(page)
    field.fill(before)
    expect_row(page, "small", without_end(tiny_model, before))
    scored = page_service.count(WORDS_SCORED) or 0
    field.fill(after)
    expect_row(page, "small", without_end(tiny_model, after))
    assert page_service.count(WORDS_SCORED) == scored + 5
    # Less text needs no scores; what then follows goes on from the last word that is left.
    field.fill("w0 w1 ")
    expect(cells(page, "small")).to_have_count(2)
    field.press_sequentially("w8 ")
    expect_row(page, "small", without_end(tiny_model, "w0 w1 w8"))
    assert page_service.count(WORDS_SCORED) == scored + 6


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


def test_models_stand_under_each_other(page: Page, page_models: tuple[LanguageModel, ...]) -> None:
    text_field(page).fill(f"{SENTENCE} ")
    for name in NAMES[1:]:
        page.get_by_role("checkbox", name=name).check()
    for name, model in zip(NAMES, page_models, strict=True):
        expect_row(page, name, without_end(model, SENTENCE))
    label = page.get_by_role("img").get_attribute("aria-label") or ""
    shown = re.fullmatch(r"After 4 words: small (\S+), network (\S+), mixed (\S+)", label)
    assert shown
    for value, model in zip(shown.groups(), page_models, strict=True):
        total = sum(score.log10_prob for score in without_end(model, SENTENCE))
        assert float(value.replace(",", "")) == pytest.approx(perplexity(total, 4), rel=0.006)
    expect(page.locator("#chart polyline")).to_have_count(3)
    page.get_by_role("combobox", name="Shaded by").select_option("network")
    expect(page.get_by_role("checkbox", name="network")).to_be_hidden()
    expect_row(page, "network", without_end(page_models[1], SENTENCE))


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
