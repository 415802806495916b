"""Models that come, change and go while requests are answered."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness import problem

import lmserve
from lmserve.errors import OptionError
from lmserve.publishing.directory import ModelDirectory
from lmserve.publishing.publishing import publish, rollback
from lmserve.service.app import create_app
from lmserve.service.cache import CachePolicy, LruCache
from lmserve.service.context import Service
from lmserve.service.following import FollowingCatalogue
from lmserve.service.metrics import ServiceMetrics
from lmserve.service.opening import ModelOpener
from lmserve.service.settings import ServiceSettings


class Following:
    """A service of a model directory; `now_s` is its clock."""

    def __init__(self, folder: Path, *, poll_s: float = 2.0) -> None:
        self.now_s = 0.0
        self.directory = ModelDirectory.at(folder)
        self.metrics = ServiceMetrics()
        cache = LruCache()
        opener = ModelOpener(
            cache=cache,
            policy=CachePolicy.AUTO,
            metrics=self.metrics,
            settings=ServiceSettings(),
            device="cpu",
            model_cache=folder / "unused",
        )
        self.catalogue = FollowingCatalogue(
            self.directory,
            opener.version,
            metrics=self.metrics,
            poll_s=poll_s,
            clock=lambda: self.now_s,
        )
        service = Service(
            models=self.catalogue, metrics=self.metrics, settings=ServiceSettings(poll_s=poll_s)
        )
        self.app = create_app(service, cache=cache)

    def versions(self) -> dict[str, str]:
        return {model.name: model.version for model in self.catalogue.all()}

    def get(self, path: str) -> httpx.Response:
        async def get() -> httpx.Response:
            async with self.client() as client:
                return await client.get(path)

        return asyncio.run(get())

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")

    def count(self, metric: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, labels)

    def infos(self) -> set[tuple[str, str]]:
        """Name and version of each line of `lmserve_model_info`."""
        lines = self.metrics.exposition().decode().splitlines()
        found = [line for line in lines if line.startswith("lmserve_model_info{")]
        parts = [dict(p.split("=") for p in line[19:-5].split(",")) for line in found]
        return {(part["name"].strip('"'), part["version"].strip('"')) for part in parts}

    def heldout(self) -> list[float]:
        """What is told of the models being served."""
        lines = self.metrics.exposition().decode().splitlines()
        name = "lmserve_model_heldout_perplexity{"
        return [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]


@pytest.fixture
def folder(tiny_model_path: Path, tmp_path: Path) -> Iterator[Path]:
    """Where the models `a` and `b` are published, each in version 1."""
    models = tmp_path / "models"
    for name in ("b", "a"):
        publish(tiny_model_path, ModelDirectory.at(models), name=name, version="1")
    yield models
    assert not (models / "unused").exists()


def test_new_versions_are_swapped_in_and_old_ones_are_kept_by_requests(
    folder: Path, tiny_model_path: Path, other_model_path: Path
) -> None:
    following = Following(folder)
    assert following.versions() == {"a": "1", "b": "1"}
    before = following.catalogue.find("a")
    publish(other_model_path, following.directory, name="a", version="2", heldout_perplexity=90.5)
    assert following.versions()["a"] == "1"
    assert following.heldout() == []
    following.catalogue.look()
    assert following.heldout() == [90.5]
    assert following.get("/v1/models/a").json()["heldout_perplexity"] == 90.5
    assert following.versions() == {"a": "2", "b": "1"}
    assert following.catalogue.find("a").digest == lmserve.load(other_model_path).digest
    # Whoever began with the former one goes on with it.
    assert before.version == "1"
    assert before.model.score("w0") == lmserve.load(tiny_model_path).score("w0")
    assert following.infos() == {("a", "2"), ("b", "1")}
    assert following.count("lmserve_model_swaps_total", name="a") == 1
    assert following.count("lmserve_model_swaps_total", name="b") is None
    rollback(following.directory, "a")
    following.catalogue.look()
    assert following.versions()["a"] == "1"
    assert following.heldout() == []
    assert following.infos() == {("a", "1"), ("b", "1")}


def test_names_appear_and_vanish(folder: Path, other_model_path: Path) -> None:
    following = Following(folder)
    assert following.catalogue.find().name == "a"
    publish(other_model_path, following.directory, name="0", version="1")
    (folder / "a" / "current.json").unlink()
    following.catalogue.look()
    # In the order of names, so that all replicas have the same first.
    assert following.versions() == {"0": "1", "b": "1"}
    assert following.catalogue.find().name == "0"
    assert following.infos() == {("0", "1"), ("b", "1")}
    gone = problem(following.get("/v1/models/a"))
    assert (gone.status, gone.detail) == (404, "There is no model 'a'; there are: 0, b.")
    shutil.rmtree(folder / "0")
    shutil.rmtree(folder / "b")
    following.catalogue.look()
    assert following.versions() == {}
    assert problem(following.get("/readyz")).detail == "No model is loaded."
    assert problem(following.get("/v1/models/b")).status == 503
    assert following.get("/v1/models").json() == {"object": "list", "data": [], "failures": []}


def test_what_cannot_be_loaded_leaves_the_former_version(
    folder: Path, other_model_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    following = Following(folder)
    publish(other_model_path, following.directory, name="a", version="2")
    table = folder / "a" / "2" / "ngrams.arrow"
    content = table.read_bytes()
    # Not written into, as it is the published model's own: another file in its place.
    table.unlink()
    table.write_bytes(content[:-8])
    following.catalogue.look()
    assert following.versions() == {"a": "1", "b": "1"}
    [failure] = following.catalogue.failures
    assert (failure.name, failure.version, failure.attempts) == ("a", "2", 1)
    assert "cut short" in failure.problem
    assert following.get("/readyz").json() == {
        "status": "ready",
        "models": ["a", "b"],
        "not_loaded": ["a/2"],
    }
    [told] = following.get("/v1/models").json()["failures"]
    assert told == {"id": "a", "version": "2", "problem": failure.problem, "attempts": 1}
    # Tried again after pauses that grow; said once.
    for now_s, attempts in ((3.9, 1), (4.0, 2), (11.9, 2), (12.0, 3)):
        following.now_s = now_s
        following.catalogue.look()
        assert following.count("lmserve_model_load_errors_total", name="a") == attempts
    assert sum("cut short" in message for message in caplog.messages) == 1
    # Mended, or another version: no failure any more.
    table.write_bytes(content)
    following.now_s = 1000
    following.catalogue.look()
    assert following.versions()["a"] == "2"
    assert following.catalogue.failures == []


def test_another_version_is_tried_at_once(folder: Path, other_model_path: Path) -> None:
    following = Following(folder)
    publish(other_model_path, following.directory, name="a", version="2")
    shutil.rmtree(folder / "a" / "2")
    following.catalogue.look()
    assert "no version '2'" in following.catalogue.failures[0].problem
    publish(other_model_path, following.directory, name="a", version="3")
    following.catalogue.look()
    assert following.versions()["a"] == "3"
    assert following.catalogue.failures == []


def test_a_version_of_another_digest_is_not_served(folder: Path, other_model_path: Path) -> None:
    following = Following(folder)
    publish(other_model_path, following.directory, name="a", version="2")
    record = folder / "a" / "2" / "published.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"digest": "0" * 64}))
    following.catalogue.look()
    assert "published was 0000" in following.catalogue.failures[0].problem
    assert following.versions()["a"] == "1"


def test_a_pointer_that_cannot_be_read_changes_nothing(folder: Path) -> None:
    following = Following(folder)
    content = (folder / "a" / "current.json").read_text()
    (folder / "a" / "current.json").write_text(content[:20])
    following.catalogue.look()
    assert following.versions() == {"a": "1", "b": "1"}
    assert "no valid record" in following.catalogue.failures[0].problem
    (folder / "a" / "current.json").write_text(content)
    following.catalogue.look()
    assert following.catalogue.failures == []


def test_the_service_follows_while_it_answers(folder: Path, other_model_path: Path) -> None:
    """Requests all the time, through the application's whole life; none fails."""
    following = Following(folder, poll_s=0.01)
    digests: list[str] = []

    async def ask(client: httpx.AsyncClient) -> str:
        text = {"text": f"w0 w{len(digests)}", "model": "a"}
        answer = await client.post("/v1/score", json=text)
        assert answer.status_code == 200
        assert answer.headers["x-model-digest"] == answer.json()["model"]
        digests.append(answer.json()["model"])
        return digests[-1]

    async def live() -> None:
        async with following.app.router.lifespan_context(following.app), following.client() as use:
            first = await ask(use)
            publish(other_model_path, following.directory, name="a", version="2")
            async with asyncio.timeout(60):
                while await ask(use) == first:
                    await asyncio.sleep(0)
            assert (await use.get("/readyz")).status_code == 200
        assert following.catalogue.unready == "The service is stopping."

    asyncio.run(live())
    assert len(set(digests)) == 2


def test_models_are_listed_as_openai_does(folder: Path, tiny_model: lmserve.NgramModel) -> None:
    following = Following(folder)
    listed = following.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [card["id"] for card in listed["data"]] == ["a", "b"]
    card = following.get("/v1/models/a").json()
    assert card == listed["data"][0]
    published = following.directory.require_published("a", "1")
    assert card == {
        "id": "a",
        "object": "model",
        "created": int(published.at.timestamp()),
        "owned_by": "lmserve",
        "kind": "ngram",
        "version": "1",
        "digest": tiny_model.digest,
        "versions": ["1"],
        "vocabulary_size": len(tiny_model.vocabulary),
        "order": 3,
    }


def test_a_network_and_a_mixture_say_what_they_are(
    tiny_text: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    from mixable import train_network

    from lmserve.mixing.making import MixConfig, mix

    network = train_network(tiny_text, tmp_path / "network")
    parts = (tiny_model_path, network)
    mix(MixConfig(models=parts, dev=(str(tiny_text),), output=tmp_path / "mixed", cache=20))
    directory = ModelDirectory.at(tmp_path / "models")
    for name in ("network", "mixed"):
        publish(tmp_path / name, directory)
    following = Following(tmp_path / "models")
    card = following.get("/v1/models/network").json()
    assert (card["kind"], card["cell"]) == ("rnn", "lstm")
    card = following.get("/v1/models/mixed").json()
    assert (card["kind"], card["method"]) == ("mixture", "linear")
    assert card["cache"]["window"] == 20
    digests = [lmserve.load(part).digest for part in parts]
    assert [component["digest"] for component in card["components"]] == digests
    assert [component["kind"] for component in card["components"]] == ["ngram", "rnn"]
    assert sum(component["weight"] for component in card["components"]) == pytest.approx(1)
    for folder in (network, tmp_path / "mixed"):
        with pytest.raises(OptionError, match="no device 'nonsense'"):
            lmserve.load(folder, device="nonsense")
