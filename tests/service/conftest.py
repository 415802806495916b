"""The page in a real browser, for its tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live_service import Live, live
from mixable import train_network

import lmserve
from lmserve.language_model import LanguageModel
from lmserve.mixing.combining import Method
from lmserve.mixing.components import check_components
from lmserve.mixing.model import Mixture

if TYPE_CHECKING:
    from browser import Browser, Page

NAMES = ("small", "network", "mixed")


@pytest.fixture(scope="module")
def page_models(
    tiny_model: lmserve.NgramModel, tiny_text: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LanguageModel, ...]:
    """An n-gram model, a network, and a mixture of both."""
    folder = train_network(tiny_text, tmp_path_factory.mktemp("network") / "network")
    both = (tiny_model, lmserve.load(folder))
    components = check_components(both, NAMES[:2], Method.LINEAR)
    return (*both, Mixture(components, [0.7, 0.3], Method.LINEAR))


@pytest.fixture(scope="module")
def page_service(page_models: tuple[LanguageModel, ...]) -> Iterator[Live]:
    with live(*page_models, names=NAMES) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    # Here, as it skips where there is no Playwright.
    from browser import running_browser

    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: "Browser", page_service: Live) -> Iterator["Page"]:
    """The page, opened; at the end it must have asked nobody else and complained of nothing."""
    from browser import Watched
    from page_driving import open_page

    watched = Watched(browser)
    open_page(watched.page, page_service)
    yield watched.page
    assert watched.hosts == {f"127.0.0.1:{page_service.port}"}
    assert not watched.complaints
    watched.page.close()
