"""Bodies that come compressed."""

import asyncio
import gzip
import sys
import zlib
from collections.abc import AsyncIterator

import orjson
import pytest
from harness import Harness, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from streaming import as_pieces

import lmserve
from lmserve.service.decoding import STEP_BYTES, decoded

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}


def decode(pieces: list[bytes], encoding: str) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [part async for part in decoded(as_pieces(pieces), encoding)]

    return asyncio.run(collect())


@settings(max_examples=30)
@given(
    st.sampled_from(sorted(COMPRESS)),
    st.lists(st.binary(max_size=50), max_size=3),
    st.lists(st.integers(0, 100)),
)
def test_any_cut_of_any_members_decodes(
    encoding: str, members: list[bytes], cuts: list[int]
) -> None:
    body = b"".join(map(COMPRESS[encoding], members))
    ends = [*sorted(cuts), len(body)]
    pieces = [body[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]
    assert b"".join(decode(pieces, encoding)) == b"".join(members)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_bomb_goes_off_in_small_steps(encoding: str) -> None:
    bomb = COMPRESS[encoding](bytes(50 * STEP_BYTES + 1))
    parts = decode([bomb], encoding)
    assert sum(map(len, parts)) == 50 * STEP_BYTES + 1
    assert max(map(len, parts)) <= STEP_BYTES


@pytest.mark.parametrize("encoding", COMPRESS)
def test_the_limit_of_a_body_counts_what_comes_out(encoding: str) -> None:
    harness = Harness(max_body_bytes=1000)
    headers = {"Content-Encoding": encoding}
    fits = COMPRESS[encoding](orjson.dumps({"text": "the " * 200}))
    answer = harness.request("POST", "/v1/score", content=fits, headers=headers)
    assert answer.json()["scores"][0]["tokens"] == 201
    bomb = COMPRESS[encoding](orjson.dumps({"text": "the " * 10**6}))
    refused = harness.request("POST", "/v1/score", content=bomb, headers=headers)
    assert problem(refused).status == 413


@pytest.mark.parametrize("encoding", COMPRESS)
def test_lines_are_answered_before_the_member_ends(
    tiny_model: lmserve.NgramModel, encoding: str
) -> None:
    body = COMPRESS[encoding](b'"w1"\n' + b'"w2 w3"\n' * 3)
    headers = {"Content-Encoding": encoding}
    answer = Harness(tiny_model).request("POST", "/v1/score/stream", content=body, headers=headers)
    assert [orjson.loads(line)["tokens"] for line in answer.content.splitlines()] == [2, 3, 3, 3]


@pytest.mark.parametrize("encoding", COMPRESS)
def test_what_was_flushed_is_decoded_though_more_is_to_come(encoding: str) -> None:
    compressor = zlib.compressobj(wbits=31) if encoding == "gzip" else zstd.ZstdCompressor()
    flush = zlib.Z_SYNC_FLUSH if encoding == "gzip" else zstd.ZstdCompressor.FLUSH_BLOCK
    flushed = compressor.compress(b'"w1"\n') + compressor.flush(flush)

    async def first() -> bytes:
        async def pieces() -> AsyncIterator[bytes]:
            yield flushed
            await asyncio.Event().wait()

        return await anext(decoded(pieces(), encoding))

    assert asyncio.run(first()) == b'"w1"\n'


@pytest.mark.parametrize("encoding", COMPRESS)
def test_damaged_and_broken_bodies_are_errors(encoding: str) -> None:
    body = COMPRESS[encoding](b"some text " * 100)
    with pytest.raises(HTTPException, match="too early") as early:
        decode([body[:-3]], encoding)
    assert early.value.status_code == 400
    with pytest.raises(HTTPException, match="damaged") as damaged:
        decode([b"no such thing"], encoding)
    assert damaged.value.status_code == 400


def test_windows_larger_than_the_rfc_allows_are_refused() -> None:
    wide = {zstd.CompressionParameter.window_log: 27}
    with pytest.raises(HTTPException, match="too much memory"):
        decode([zstd.compress(bytes(1 << 25), options=wide)], "zstd")


def test_a_stream_ends_with_the_error() -> None:
    body = gzip.compress(b'"the"\n"cat"\n' * 10)[:-4]
    answer = Harness().request(
        "POST", "/v1/score/stream", content=body, headers={"Content-Encoding": "gzip"}
    )
    *_, last = map(orjson.loads, answer.content.splitlines())
    assert last["error"]["status"] == 400
    assert last["line"] == 21


def test_other_encodings_are_refused_before_the_answer_begins() -> None:
    for path in ("/v1/score", "/v1/score/stream"):
        refused = Harness().request("POST", path, content=b"x", headers={"Content-Encoding": "br"})
        assert problem(refused).status == 415
        assert refused.headers["accept-encoding"] == "gzip, zstd"
