"""The page's parts, as tests find them."""

from browser import Page
from live_service import Live
from playwright.sync_api import Locator, expect

# As `page_service` serves them: an n-gram model, a network, a mixture of both.
NAMES = ("small", "network", "mixed")
SCHEMES = ("light", "dark")

expect.set_options(timeout=20_000)


def open_page(page: Page, page_service: Live) -> None:
    page.set_default_timeout(60_000)
    page.goto(f"http://127.0.0.1:{page_service.port}/")
    # The first model is asked about its text before anything is drawn.
    expect(page.locator("#model option").first).to_be_attached()


def text_field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Your text")


def cells(page: Page, name: str) -> Locator:
    """The cells of a model's rows."""
    title = page.locator("th[scope=row]").get_by_text(name, exact=True)
    return page.locator("#rows tr").filter(has=title).locator("td")
