"""The files in which processes keep their values, and what the dead left of theirs.

A process has `counter_NAME.db`, `histogram_NAME.db` and `gauge_MODE_NAME.db`. What dead processes
counted is summed up in the newest folder `retired-G`, with the names of those whose files it
replaces: they are not read any more, whether or not they lie there still. The folder is put in its
place by one renaming, so that at any moment each process's counts are either in its own files or in
the sum.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

RETIRED = "retired-"
_NAMES = "names.json"


@dataclass(frozen=True, slots=True)
class ValueFile:
    """A process's file.

    Attributes:
        path: where.
        kind: "counter", "histogram", "gauge_livesum" and so on.
        process: name of the process.
    """

    path: Path
    kind: str
    process: str

    @property
    def is_counted(self) -> bool:
        """Whether its values outlive the process."""
        return not self.kind.startswith("gauge")

    @property
    def is_live(self) -> bool:
        """Whether its values end with the process."""
        return self.kind.startswith("gauge_live")


@dataclass(frozen=True, slots=True)
class Retired:
    """What dead processes left.

    Attributes:
        generation: rises with each that takes in more processes; 0 where there is none yet.
        folder: that holds `counter_retired.db` and `histogram_retired.db`, if there were any.
        names: of the processes that it took in last.
    """

    generation: int
    folder: Path
    names: frozenset[str]

    def files(self, pattern: str = "*.db") -> list[Path]:
        """The sums."""
        return sorted(self.folder.glob(pattern))

    @property
    def next_folder(self) -> Path:
        """Of the generation after this one."""
        return self.folder.with_name(f"{RETIRED}{self.generation + 1}")


def value_files(folder: Path) -> list[ValueFile]:
    """Those of all processes."""
    found = []
    for path in folder.glob("*_*.db"):
        kind, _, process = path.stem.rpartition("_")
        found.append(ValueFile(path, kind, process))
    return found


def values_in(path: Path) -> Iterator[tuple[str, float, float]]:
    """Keys, values and, of `LATEST` gauges, when they were set, in seconds since 1970.

    Raises:
        FileNotFoundError: it is gone.
    """
    # prometheus_client makes a file first, and gives it a size then.
    if path.stat().st_size:
        found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        for key, value, set_s, _ in found:
            yield key, value, set_s


def write_values(path: Path, values: Mapping[str, float]) -> None:
    """Makes a file."""
    file = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    for key, value in values.items():
        file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def newest_retired(folder: Path) -> Retired:
    """The generation that counts."""
    newest = max(retired_generations(folder), default=0)
    place = folder / f"{RETIRED}{newest}"
    return Retired(newest, place, _names(place) if newest else frozenset())


def _names(place: Path) -> frozenset[str]:
    try:
        return frozenset(json.loads((place / _NAMES).read_bytes()))
    except (ValueError, TypeError):
        # The machine stopped while it was written. Of whom it told, the files are gone by then,
        # but for those of the last moment.
        return frozenset()


def retired_generations(folder: Path) -> list[int]:
    """All that lie there."""
    return [int(path.name.removeprefix(RETIRED)) for path in folder.glob(f"{RETIRED}*")]


def write_names(place: Path, names: Iterable[str]) -> None:
    """Says which processes a generation takes in."""
    (place / _NAMES).write_text(json.dumps(sorted(names)))
