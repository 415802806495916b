"""A real browser for tests, and an eye on what its pages do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from programs import program

try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ImportError:
    if "CI" in os.environ:
        raise
    pytest.skip("playwright is missing: pip install playwright", allow_module_level=True)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium; see `programs.program` for where there is none."""
    path = program("chromium", "chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers and root don't have.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of which every request and every complaint is kept.

    Attributes:
        page: it.
        hosts: of all its requests and WebSockets.
        complaints: errors and warnings in its console, and exceptions that nothing caught.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.page: Page = browser.new_page(**options)
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
