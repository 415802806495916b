"""The files of the page: how they are sent, and that they need nobody else."""

import re
from importlib.resources import files

import pytest
from harness import Harness, problem

NAMES = sorted(file.name for file in files("lmserve.service").joinpath("page").iterdir())
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.mark.parametrize("path", ["/", "/docs", *(f"/page/{name}" for name in NAMES)])
def test_every_file_comes_with_its_type_and_a_strict_policy(path: str) -> None:
    response = Harness().request("GET", path)
    assert response.status_code == 200
    kind = path.rpartition(".")[2] if "." in path else "html"
    assert response.headers["content-type"].partition(";")[0] == TYPES[kind]
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = dict(
        part.strip().split(" ", 1)
        for part in response.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    harness = Harness()
    first = harness.request("GET", "/page/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = harness.request(
        "GET", "/page/main.js", headers={"If-None-Match": first.headers["etag"]}
    )
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    other = harness.request("GET", "/page/main.js", headers={"If-None-Match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize("name", ["missing.js", "..%2fpage_routes.py", "%2e%2e", ""])
def test_nothing_else_is_sent(name: str) -> None:
    assert problem(Harness().request("GET", f"/page/{name}")).status == 404


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_another_server_or_has_code_inline(name: str) -> None:
    text = files("lmserve.service").joinpath("page", name).read_text()
    addresses = set(re.findall(r"\w+://[^\s\"'`]+", text))
    # Names of XML's languages, not addresses.
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", text)
