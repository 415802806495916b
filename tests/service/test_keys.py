"""Keys: their file, and what is demanded of requests."""

import os
from datetime import timedelta
from pathlib import Path

import httpx
import orjson
import pytest
from fastapi import FastAPI, WebSocket
from harness import Harness, problem
from live_socket import live
from openai import AuthenticationError, OpenAI
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lmserve.errors import OptionError
from lmserve.service import keys
from lmserve.service.keys import KeyRing, add_key, find_key, read_keys, write_keys
from lmserve.service.protection_settings import ProtectionSettings


def guarded(path: Path, **settings: object) -> Harness:
    protection = ProtectionSettings(api_keys_file=str(path), **settings)  # type: ignore[arg-type]
    return Harness(protection=protection)


def score(harness: Harness, **headers: str) -> httpx.Response:
    return harness.request("POST", "/v1/score", json={"text": "the"}, headers=headers)


def with_socket(harness: Harness) -> FastAPI:
    """The application with a WebSocket that says one word."""

    @harness.app.websocket("/v1/test")
    async def speak(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(" ".join([*socket.scope["subprotocols"], "hello"]))
        await socket.close()

    return harness.app


def test_a_key_is_random_and_the_file_has_its_hash_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "keys.json"
    key = add_key(path, "first", requests_per_s=2.5)
    assert key != add_key(path, "second")
    assert len(key) == len("lms_") + 43
    assert key not in path.read_text()
    assert key[4:20] not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert [(one.name, one.requests_per_s) for one in read_keys(path)] == [
        ("first", 2.5),
        ("second", None),
    ]
    found = find_key(read_keys(path), key)
    assert found is not None
    assert found.name == "first"
    assert find_key(read_keys(path), key[:-1]) is None
    assert find_key(read_keys(path), "\udcff\xff".encode("utf-8", "replace").decode()) is None


def test_every_entry_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [add_key(tmp_path / "keys", f"k{number}") for number in range(5)]
    entries = read_keys(tmp_path / "keys")
    compared = []
    compare = keys.hmac.compare_digest
    monkeypatch.setattr(
        keys.hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b)
    )
    assert find_key(entries, given[0]) == entries[0]
    assert compared == [entry.sha256 for entry in entries]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "JSON"),
        (b"[]", "no file of keys"),
        (b'{"keys": [{"name": "a"}]}', "keys.0.sha256"),
        (b'{"keys": [{"name": "a b", "sha256": "%s"}]}' % (b"0" * 64), "keys.0.name"),
    ],
)
def test_what_is_no_file_of_keys_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=says):
        KeyRing(path)


def test_names_are_given_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "a")
    with pytest.raises(OptionError, match="'a' already"):
        add_key(path, "a")
    with pytest.raises(OptionError, match="this is no key: name"):
        add_key(path, "a key")
    write_keys(path, read_keys(path) * 2)
    with pytest.raises(OptionError, match="two keys"):
        read_keys(path)
    with pytest.raises(OptionError, match="lmserve keys create"):
        read_keys(tmp_path / "none")


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    now_s = 0.0
    first = add_key(path, "first")
    ring = KeyRing(path, clock=lambda: now_s)
    second = add_key(path, "second")
    assert ring.find(second) is None
    now_s = 2.0
    assert ring.find(second) is not None
    path.write_text("{")
    now_s = 4.0
    assert ring.find(first) is not None
    path.unlink()
    now_s = 6.0
    assert ring.find(first) is not None
    add_key(path, "third")
    now_s = 8.0
    assert ring.find(first) is None


def test_without_a_file_the_service_is_open() -> None:
    assert score(Harness()).status_code == 200


def test_requests_need_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "me")
    harness = guarded(path)
    for headers in ({}, {"Authorization": key}, {"Authorization": f"Basic {key}"}):
        answer = score(harness, **headers)
        assert problem(answer).status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="lmserve"'
    wrong = score(harness, Authorization=f"Bearer {key[:-1]}")
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].endswith(', error="invalid_token"')
    assert key[:-1] not in wrong.text
    assert score(harness, Authorization=f"Bearer {key}").status_code == 200
    assert score(harness, Authorization=f"bearer  {key}").status_code == 200
    assert harness.count("lmserve_refused_requests_total", reason="unauthenticated") == 4
    assert harness.scorer.batches == [[b"the"]]


def test_a_key_that_is_disabled_or_expired_is_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    disabled = add_key(path, "disabled")
    expired = add_key(path, "expired", expires_in=timedelta(days=-1))
    future = add_key(path, "future", expires_in=timedelta(days=1))
    entries = read_keys(path)
    write_keys(path, [entries[0].model_copy(update={"disabled": True}), *entries[1:]])
    harness = guarded(path)
    for key, status, says in (
        (disabled, 403, "'disabled' is disabled"),
        (expired, 403, "'expired' has expired"),
        (future, 200, "scores"),
    ):
        answer = score(harness, Authorization=f"Bearer {key}")
        assert answer.status_code == status
        assert says in answer.text


def test_operators_need_no_key_and_other_paths_may_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "me")
    harness = guarded(path)
    for open_path in ("/healthz", "/readyz", "/metrics", "/", "/page/main.js", "/openapi.json"):
        assert harness.request("GET", open_path).status_code == 200
    for closed in ("/healthz/", "/v1/models", "/v1/nothing"):
        assert harness.request("GET", closed).status_code == 401
    harness = guarded(path, open_paths=("/open*",))
    assert harness.request("GET", "/openapi.json").status_code == 200
    assert harness.request("GET", "/metrics").status_code == 401


def test_the_openai_client_sends_its_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "me")
    with live(guarded(path).app) as port:
        for given, status in ((key, 200), ("wrong", 401)):
            client = OpenAI(api_key=given, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
            with client:
                if status == 401:
                    with pytest.raises(AuthenticationError):
                        client.post("/score", body={"text": "the"}, cast_to=httpx.Response)
                else:
                    answer = client.post("/score", body={"text": "the"}, cast_to=httpx.Response)
                    assert answer.status_code == 200


def test_websockets_take_the_key_of_a_header_or_a_subprotocol(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = add_key(path, "me")
    with live(with_socket(guarded(path))) as port:
        url = f"ws://127.0.0.1:{port}/v1/test"
        with connect(url, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
            assert socket.recv() == "hello"
        # As a browser has it: `new WebSocket(url, ["lmserve", "lmserve.key." + key])`.
        with connect(url, subprotocols=["lmserve", f"lmserve.key.{key}"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "lmserve"
            assert socket.recv() == "lmserve hello"
        for subprotocols in (None, ["lmserve"], ["lmserve", "lmserve.key.wrong"]):
            with pytest.raises(InvalidStatus) as refused, connect(url, subprotocols=subprotocols):  # type: ignore[arg-type]
                pass
            response = refused.value.response
            assert response.status_code == 401
            assert orjson.loads(response.body)["status"] == 401


def test_a_server_that_cannot_answer_a_handshake_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    add_key(path, "me")
    app = with_socket(guarded(path))

    async def without_extensions(scope, receive, send):  # type: ignore[no-untyped-def]
        scope.pop("extensions", None)
        await app(scope, receive, send)

    client = TestClient(without_extensions)
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/v1/test"):
        pass
    assert closed.value.code == 1008


def test_the_environment_has_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from lmserve.service.protection_settings import protection_from, variables

    settings = ProtectionSettings(
        api_keys_file="/keys",
        allowed_origins=("https://a.example", "https://b.example"),
        client_requests_per_s=2.5,
        client_burst=4,
        max_concurrent=7,
        security_headers=False,
        log_format="json",
    )
    assert protection_from(variables(settings)) == settings
    assert variables(ProtectionSettings()) == {}
    assert protection_from({}) == ProtectionSettings()
    monkeypatch.setitem(os.environ, "LMSERVE_MAX_CONCURRENT", "many")
    with pytest.raises(OptionError, match="LMSERVE_MAX_CONCURRENT is 'many'"):
        protection_from()


@pytest.mark.parametrize(
    "settings",
    [
        {"max_concurrent": 0},
        {"max_queued": -1},
        {"max_stall_s": 0},
        {"client_requests_per_s": float("nan")},
        {"client_burst": 3},
        {"drain_s": -1},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(settings))):
        ProtectionSettings(**settings)  # type: ignore[arg-type]
