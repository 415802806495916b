"""A training whose model goes to a URL: machines share nothing but the store that it names.

    URL.training/
        train.npy, valid.npy, model/    the prepared run, as in `runs`
        run.json                        after all of these
        checkpoints/step-*/             progress.json after the rest of each
        checkpoints/steps.jsonl         the log of steps, as of the newest checkpoint
        model/manifest.json             when the network is trained, after its weights
    URL.lock/                       the claim of the training at work, see `store_lock`

Workers train in folders of their own machine. What is prepared, and a checkpoint to go on from, is
fetched once for all workers of a machine.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from lmserve.errors import InputError, LmserveError, TrainingError
from lmserve.machine_folders import link_files, machine_folder, working_folder
from lmserve.manifests import MANIFEST_FILE
from lmserve.publishing.fetching import fetched_once
from lmserve.publishing.remote_models import upload
from lmserve.remote_folder import RemoteFolder, beside_url
from lmserve.rnn import runs
from lmserve.rnn.checkpoints import PROGRESS_FILE, checkpoints
from lmserve.rnn.manifest import RecurrentManifest
from lmserve.rnn.run_config import RunConfig
from lmserve.rnn.runs import ERROR_FILE, FACTS_FILE, Keep
from lmserve.rnn.step_log import STEPS_FILE
from lmserve.store_lock import store_locked

_MAX_BYTES = 1 << 24
_CHECKPOINTS = "checkpoints"
# What ends the part of a run that is there before any training.
_PREPARED = (f"{_CHECKPOINTS}/", FACTS_FILE, ERROR_FILE, "ray/")


def run_url(url: str) -> str:
    """Where the run of a training lies whose model goes to a URL."""
    return beside_url(url, ".training")


class StoredRun:
    """A run at a URL; see `run_places.RunPlace`.

    Args:
        config: of the training.
        url: where its model goes.
    """

    def __init__(self, config: RunConfig, url: str) -> None:
        self._config = config
        self._output = RemoteFolder(url)
        self._run = RemoteFolder(run_url(url))

    def check(self) -> None:
        """See `run_places.RunPlace`."""
        config, place = self._config, self._run.location
        written = self._run.read(FACTS_FILE, _MAX_BYTES)
        if written is None and config.resume:
            raise TrainingError(
                f"nothing to resume: there is no unfinished training in {place}",
                "Run the same command without --resume.",
            )
        if written is not None and not config.resume:
            raise TrainingError(
                f"there is an unfinished training in {place}",
                "Continue it with --resume, or delete that folder to start anew.",
            )
        if self._output.exists(MANIFEST_FILE) and not (config.overwrite or self.trained()):
            raise TrainingError(
                f"{self._output.location} exists already",
                "Give another --output, or --overwrite to replace it once the new one is complete.",
            )
        facts = config.facts()
        if written is not None:
            runs.compare_facts(facts, written, place)

    def locked(self) -> AbstractContextManager[None]:
        """See `run_places.RunPlace`."""
        return store_locked(beside_url(self._output.url, ".lock"), "training", TrainingError)

    def prepare(self) -> None:
        """See `run_places.RunPlace`."""
        self.check()
        if self._config.resume:
            return
        with self._working() as scratch:
            local = self._local(scratch)
            runs.prepare(local)
            for path in sorted(local.folder.rglob("*")):
                if path.is_file() and path.name != FACTS_FILE:
                    self._run.put(path.relative_to(local.folder).as_posix(), path)
            self._run.put(FACTS_FILE, local.folder / FACTS_FILE)

    def trained(self) -> bool:
        """See `run_places.RunPlace`."""
        return self._config.resume and self._run.exists(f"model/{MANIFEST_FILE}")

    @contextmanager
    def entered(self) -> Iterator[tuple[RunConfig, Keep]]:
        """See `run_places.RunPlace`."""
        base, key = machine_folder(self._config.temp_dir), self._key()
        prepared = fetched_once(base / "runs" / key, self._fetch_prepared)
        with self._working() as scratch:
            local = self._local(scratch)
            link_files(prepared, local.folder)
            newest = self._newest()
            if newest is not None:
                there = f"{_CHECKPOINTS}/{newest}"
                copy = fetched_once(
                    base / f"{_CHECKPOINTS}-{key}" / newest,
                    lambda folder: self._fetch(self._run.files(there), there, folder),
                )
                link_files(copy, local.folder / there)
                steps = f"{_CHECKPOINTS}/{STEPS_FILE}"
                # There is none where the checkpoint is older than the first steps that were told.
                if self._run.exists(steps):
                    self._run.get(steps, self._steps(local))
            yield local, self._keep

    def finish(self, config: RunConfig) -> None:
        """See `run_places.RunPlace`."""
        model = config.folder / "model"
        for path in sorted(model.iterdir(), key=lambda path: path.name == MANIFEST_FILE):
            self._run.put(f"model/{path.name}", path)

    def publish(self) -> RecurrentManifest:
        """See `run_places.RunPlace`."""
        with self._working() as scratch:
            model = scratch / self._config.output.name
            self._fetch(self._run.files("model"), "model", model)
            manifest = RecurrentManifest.read(model)
            upload(model, self._output)
        self._run.delete_file(FACTS_FILE)
        self._run.delete()
        return manifest

    def fail(self, error: LmserveError) -> None:
        """See `run_places.RunPlace`."""
        self._run.put(ERROR_FILE, json.dumps([error.problem, error.remedy]).encode())

    def failure(self) -> tuple[str, str] | None:
        """See `run_places.RunPlace`."""
        written = self._run.read(ERROR_FILE, _MAX_BYTES)
        if written is None:
            return None
        self._run.delete_file(ERROR_FILE)
        problem, remedy = json.loads(written)
        return problem, remedy

    def _keep(self, checkpoint: Path) -> None:
        """Puts a checkpoint into the store, and deletes those that it supersedes."""
        there = f"{_CHECKPOINTS}/{checkpoint.name}"
        try:
            for path in sorted(checkpoint.iterdir(), key=lambda path: path.name == PROGRESS_FILE):
                self._run.put(f"{there}/{path.name}", path)
            steps = checkpoint.parent / STEPS_FILE
            if steps.exists():
                self._run.put(f"{_CHECKPOINTS}/{STEPS_FILE}", steps)
            oldest = checkpoints(checkpoint.parent)[0].name
            # No newer ones: if this worker is about to be killed, another run may have gone on.
            for name in (n for n in self._run.folders(_CHECKPOINTS) if n < oldest):
                old = f"{_CHECKPOINTS}/{name}"
                if self._run.exists(f"{old}/{PROGRESS_FILE}"):
                    self._run.delete_file(f"{old}/{PROGRESS_FILE}")
                self._run.delete(old)
        except InputError as error:
            # The other workers wait for this one: it has to end for all to begin again.
            raise ConnectionError(str(error)) from error

    def _newest(self) -> str | None:
        """The newest complete checkpoint in the store."""
        names = reversed(self._run.folders(_CHECKPOINTS))
        complete = (n for n in names if self._run.exists(f"{_CHECKPOINTS}/{n}/{PROGRESS_FILE}"))
        return next(complete, None)

    def _fetch_prepared(self, folder: Path) -> None:
        names = [name for name in self._run.files() if not name.startswith(_PREPARED)]
        self._fetch(names, "", folder)

    def _fetch(self, names: list[str], start: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in names:
            self._run.get(name, folder / name.removeprefix(f"{start}/"))

    def _local(self, scratch: Path) -> RunConfig:
        """The same training, in a folder of this machine."""
        output = scratch / self._config.output.name
        return replace(self._config, url=None, output=output, resume=False, overwrite=False)

    def _working(self) -> AbstractContextManager[Path]:
        return working_folder(machine_folder(self._config.temp_dir), "train-")

    def _steps(self, local: RunConfig) -> Path:
        return local.folder / _CHECKPOINTS / STEPS_FILE

    def _key(self) -> str:
        """Names this run among those that a machine has parts of."""
        written = self._run.read(FACTS_FILE, _MAX_BYTES) or b""
        return hashlib.sha256(self._run.url.encode() + written).hexdigest()[:32]
