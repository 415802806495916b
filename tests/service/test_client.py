"""Both clients with the real application behind a real socket, and what their requests say."""

import gzip
import json
import pickle
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trustme
from client_kinds import KINDS, call, stream
from harness import Harness
from raw_server import Handle, answer, raw_server, read_head, read_whole, scores
from restartable_server import RestartableServer, running_server

from lmserve.client import Client
from lmserve.errors import OptionError, ServiceError

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def server() -> Iterator[RestartableServer]:
    with running_server(Harness().app) as server:
        yield server


def test_texts_are_scored(kind: str, server: RestartableServer) -> None:
    known, unknown = call(kind, server.url, "score", ["the cat", "dog"])
    assert (known["log10_prob"], known["tokens"], known["oov"]) == (-3.5, 3, 0)
    assert (unknown["log10_prob"], unknown["tokens"], unknown["oov"]) == (-3.5, 2, 1)
    assert call(kind, server.url, "score", []) == []


def test_options_reach_the_service(kind: str, server: RestartableServer) -> None:
    options: dict[str, Any] = {"words": True, "eos": False, "model": "table"}
    [answer] = call(kind, server.url, "score", ["the cat"], **options)
    assert [word["word"] for word in answer["words"]] == ["the", "cat"]
    assert stream(kind, server.url, ["the cat"], **options) == [answer]


def test_health_and_metrics(kind: str, server: RestartableServer) -> None:
    assert call(kind, server.url, "health") == {"status": "ok", "model": "ab" * 32}
    assert "lmserve_requests_total" in call(kind, server.url, "metrics")


def test_a_refusal_says_what_the_service_says(kind: str, server: RestartableServer) -> None:
    with pytest.raises(ServiceError, match="answered 404 to the texts: There is no mod") as caught:
        call(kind, server.url, "score", ["the"], model="none")
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.status == 404
    assert error.detail.startswith("There is no model 'none'")
    assert len(error.request_id) == 32
    assert not error.passing
    assert error.remedy == "The answer says what to change."


@pytest.mark.parametrize("batch", [1, 7, 60, 256])
def test_every_text_of_a_stream_has_one_answer(
    kind: str, server: RestartableServer, batch: int
) -> None:
    texts = [f"{'the ' * (number % 5)}\ncat" for number in range(60)]
    answers = stream(kind, server.url, texts, batch=batch)
    assert [answer["tokens"] for answer in answers] == [2 + number % 5 for number in range(60)]
    assert stream(kind, server.url, [], batch=batch) == []


def test_long_texts_make_short_blocks(kind: str) -> None:
    harness = Harness()
    with running_server(harness.app) as server:
        answers = stream(kind, server.url, ["the " * 10_000] * 4, words=True)
    assert [len(answer["words"]) for answer in answers] == [10_001] * 4
    assert harness.count("lmserve_requests_total", route="/v1/score", status="200") == 2


def test_the_certificate_is_checked(kind: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    trusted, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(trusted)
    trustme.CA().cert_pem.write_to_path(other)
    identity = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(identity)
    texts = ["the cat"] * 1000
    with running_server(Harness().app, ssl_certfile=identity) as server:
        assert server.url.startswith("https://")
        for verify in (trusted, ssl.create_default_context(cafile=trusted), False):
            answers = stream(kind, server.url, texts, batch=100, client={"verify": verify})
            assert [answer["log10_prob"] for answer in answers] == [-3.5] * 1000
        # A single request: where others are cancelled while they connect, anyio may lose the
        # socket of one that just had, and Python warns of it.
        for verify in (other, True):
            with pytest.raises(ServiceError, match="not to be trusted") as caught:
                stream(kind, server.url, texts[:10], client={"verify": verify})
            assert not caught.value.passing


def test_a_file_without_certificates_is_named(kind: str, tmp_path: Path) -> None:
    del kind
    (tmp_path / "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(OptionError, match=name):
            Client("https://h", verify=tmp_path / name)


def hearing(requests: list[tuple[bytes, bytes]]) -> Handle:
    """Keeps the heads and bodies of requests for one score."""

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        requests.append(read_whole(reader))
        writer.write(answer(scores("a")))

    return handle


def test_the_key_is_a_bearer_token(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[bytes, bytes]] = []
    for key, variable in (("given", "other"), (None, "variable"), (None, "")):
        monkeypatch.setenv("LMSERVE_API_KEY", variable)
        with raw_server(hearing(requests)) as url:
            call(kind, url, "score", ["a"], client={"api_key": key})
    found = [head.lower().partition(b"authorization: ")[2].split(b"\r")[0] for head, _ in requests]
    assert found == [b"bearer given", b"bearer variable", b""]


def test_long_bodies_are_compressed_where_asked_for(kind: str) -> None:
    requests: list[tuple[bytes, bytes]] = []
    for text in ("a", "a" * 1000):
        with raw_server(hearing(requests)) as url:
            call(kind, url, "score", [text], client={"gzip_bytes": 1000})
    (short_head, short), (long_head, long) = requests
    assert b"content-encoding" not in short_head.lower()
    assert json.loads(short) == {"texts": ["a"]}
    assert b"content-encoding: gzip" in long_head.lower()
    assert json.loads(gzip.decompress(long)) == {"texts": ["a" * 1000]}


@pytest.mark.parametrize("path", ["", "/", "/lm", "/lm/"])
def test_the_path_of_the_url_is_kept(kind: str, path: str) -> None:
    heads: list[bytes] = []

    def handle(reader: BinaryIO, writer: BinaryIO) -> None:
        heads.append(read_head(reader))
        writer.write(answer(b"", status="404 Not Found"))

    for method, arguments in (("score", [["a"]]), ("metrics", []), ("health", []), ("models", [])):
        with raw_server(handle) as url, pytest.raises(ServiceError, match="404"):
            call(kind, url + path, method, *arguments)
    with raw_server(handle) as url, pytest.raises(ServiceError, match="404"):
        stream(kind, url + path, ["a"])
    prefix = path.rstrip("/").encode()
    assert [head.split()[1].removeprefix(prefix) for head in heads] == [
        b"/v1/score",
        b"/metrics",
        b"/healthz",
        b"/v1/models",
        b"/v1/score/stream",
    ]


@pytest.mark.parametrize(
    "url",
    ["", "h:80", "ftp://h", "http://", "http://h:x", "http://h:0", "http://h:99999", "http://["],
)
def test_what_is_no_url_is_named(kind: str, url: str) -> None:
    with pytest.raises(ServiceError, match="is no URL"):
        call(kind, url, "health")


@pytest.mark.parametrize("url", ["http://a..b", "http://127.0.0.1:1/ü", "http://127.0.0.1:1/a b"])
def test_a_url_that_leads_nowhere_is_an_error(kind: str, url: str) -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        call(kind, url, "score", ["a"])
    with pytest.raises(ServiceError, match="does not answer"):
        stream(kind, url, ["a"])


def test_errors_do_not_show_the_password_of_a_url(kind: str) -> None:
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1") as caught:
        call(kind, "http://user:hunter2@127.0.0.1:1", "health")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("options", [{"batch": 0}, {"client": {"in_flight": 0}}])
def test_streams_have_at_least_one_text_and_one_request(kind: str, options: Any) -> None:
    with pytest.raises(OptionError, match=r"(batch|in_flight) is 0"):
        stream(kind, "http://h", ["a"], **options)


def test_what_is_no_unicode_is_named(kind: str) -> None:
    with pytest.raises(OptionError, match="cannot be sent"):
        call(kind, "http://h", "score", ["\udc80"])
