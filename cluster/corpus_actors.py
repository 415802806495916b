"""Scoring a corpus's pieces on Ray Data: a data set of pieces, mapped by actors.

What crosses the object store are names of pieces and counts: the texts go from the input's files to
the parts' in the actor that scores them. An actor that dies is started again and its piece done
again; parts that are there are not made again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import ray.data
from ray.exceptions import RayError

import lmserve.errors
from cluster.corpus_worker import CorpusTask, PieceScorer
from cluster.placement import role_selector
from cluster.sharing import require_seen
from lmserve.errors import LmserveError, ScoringError
from lmserve.text.pieces import Piece

# Blocks of the data set; more pieces than that share them.
_MAX_BLOCKS = 4096
# A piece that has killed its worker this often will do so again.
_MAX_ATTEMPTS = 4

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """A piece, and the version of its file: size and time of change, as far as they are known."""

    piece: Piece
    version: tuple[int | None, int | None]


def score_pieces(
    task: CorpusTask,
    work: Sequence[Work],
    *,
    workers: int,
    gpus: bool,
    role: str | None,
    marker: str | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Scores pieces in no particular order.

    Args:
        task: what to do with each.
        work: the pieces, each with its place in this list as its index.
        workers: actors, a processor each.
        gpus: whether each has a GPU.
        role: of the nodes that they run on, see `cluster.placement`; None for any node.
        marker: a file that every worker must see; None for none.

    Yields:
        The number of a piece, and what `PieceScorer.score` says of it.

    Raises:
        LmserveError: what the first piece to fail raised; the others' parts stay.
        ScoringError: a piece killed its workers, however often it was tried.
    """
    attempts: Any = ray.remote(num_cpus=0)(_Attempts).remote()
    # Not in this process, on whose standard error Ray Data and Ray's core would tell of their own.
    stream: Any = ray.remote(num_cpus=0, num_returns="streaming")(_stream)
    results = stream.remote(task, work, workers, gpus, role, marker, attempts)
    try:
        for reference in results:
            result = json.loads(ray.get(reference))
            if "error" in result:
                kind, problem, remedy = result["error"]
                raise getattr(lmserve.errors, kind)(problem, remedy)
            yield result["index"], result["totals"]
    except RayError as error:
        raise ScoringError(
            f"Ray failed: {_last_line(error)}",
            "See whether the cluster is up ('ray status'); what is done is kept: --resume goes on.",
        ) from error
    finally:
        ray.cancel(results)
        ray.kill(attempts)


def _stream(
    task: CorpusTask,
    work: Sequence[Work],
    workers: int,
    gpus: bool,
    role: str | None,
    marker: str | None,
    attempts: Any,
) -> Iterator[str]:
    """Yields what `Actor` makes of each piece; the arguments as in `score_pieces`."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A piece may take as long as it takes.
    context.execution_no_progress_timeout_s = -1
    rows = [{"work": json.dumps(asdict(one))} for one in work]
    blocks = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_BLOCKS))
    results = blocks.map_batches(
        Actor,
        batch_size=1,
        fn_constructor_args=(task, marker, attempts),
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=workers,
            initial_size=min(workers, len(rows)),
            max_tasks_in_flight_per_actor=2,
        ),
        num_cpus=1,
        num_gpus=1 if gpus else None,
        label_selector=role_selector(role) or None,
    )
    for row in results.iter_rows():
        yield row["result"]


class Actor:
    """A `PieceScorer` as Ray Data calls it; an error is a result, and needs no second try.

    Args:
        task: see `PieceScorer`.
        marker: see `score_pieces`.
        attempts: an actor of `_Attempts`.
    """

    def __init__(self, task: CorpusTask, marker: str | None, attempts: Any) -> None:
        self._scorer = PieceScorer(task)
        self._task, self._marker, self._attempts = task, marker, attempts

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Scores the one piece of a batch."""
        work = json.loads(batch["work"][0])
        piece, version = Piece(**work["piece"]), tuple(work["version"])
        try:
            self._count(piece)
            require_seen(self._task.model, "the model")
            require_seen(piece.path, "the text")
            if self._marker is not None:
                require_seen(self._marker, "the output, where there is")
            result: Row = {"index": piece.index, "totals": self._scorer.score(piece, version)}
        except LmserveError as error:
            result = {"error": [type(error).__name__, error.problem, error.remedy]}
        return {"result": np.array([json.dumps(result)])}

    def _count(self, piece: Piece) -> None:
        if ray.get(self._attempts.begun.remote(piece.index)) > _MAX_ATTEMPTS:
            raise ScoringError(
                f"{piece.name}, from {piece.start:,}: {_MAX_ATTEMPTS} workers died of it",
                "Most often memory ran out: give fewer --workers, or a smaller --part-size; what "
                "is done is kept: --resume goes on.",
            )


class _Attempts:
    """How often each piece was begun: Ray itself would try for ever."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begun(self, index: int) -> int:
        """Counts one more attempt at a piece, and tells how many there were."""
        self._begun[index] += 1
        return self._begun[index]


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
