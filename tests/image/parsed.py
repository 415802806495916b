"""The Dockerfile as its parser has it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster" / "image" / "Dockerfile"


@dataclass(frozen=True)
class Dockerfile:
    """Its instructions and values, in order, comments left out; labels and variables of the end."""

    instructions: list[tuple[str, str]]
    labels: dict[str, str]
    variables: dict[str, str]

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.instructions if name == instruction]

    def last(self, instruction: str) -> str:
        """What holds for the finished image."""
        start = max(at for at, (name, _) in enumerate(self.instructions) if name == "FROM")
        found = [value for name, value in self.instructions[start:] if name == instruction]
        return found[-1]

    def argument(self, name: str) -> str:
        """The default of a build argument; wherever it is given, it is the same."""
        given = {value.partition("=")[2] for value in self.values("ARG") if f"{name}=" in value}
        [default] = given
        return default

    def command(self, instruction: str) -> list[str]:
        """The words of a command in the form that needs no shell."""
        value = self.last(instruction)
        words: list[str] = json.loads(value[value.index("[") :])
        return words


@cache
def dockerfile() -> Dockerfile:
    with DOCKERFILE.open("rb") as file:
        parser = DockerfileParser(fileobj=file)
        found = [(one["instruction"], one["value"]) for one in parser.structure]
        return Dockerfile(
            [(name, value) for name, value in found if name != "COMMENT"],
            dict(parser.labels),
            dict(parser.envs),
        )
