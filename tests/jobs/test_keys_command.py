"""`lmserve keys`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lmserve.errors import OptionError
from lmserve.service.keys import find_key, read_keys


def keys(*arguments: object) -> str:
    """What the command prints on standard output."""
    result = CliRunner().invoke(app, ["keys", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    made = keys(
        "create", "alice", "--file", path, "--days", 30, "--requests-per-s", 5, "--burst", 20
    )
    [key] = made.split()
    entry = find_key(read_keys(path), key)
    assert entry is not None
    assert (entry.requests_per_s, entry.burst, entry.words_per_min) == (5, 20, None)
    assert entry.expires is not None
    assert (entry.expires - entry.created).days == 30

    assert "alice" in (listed := keys("list", "--file", path))
    assert "valid" in listed
    assert entry.sha256 not in listed

    keys("revoke", "alice", "--file", path)
    [disabled] = read_keys(path)
    assert disabled == entry.model_copy(update={"disabled": True})
    assert "disabled" in keys("list", "--file", path)
    keys("revoke", "alice", "--delete", "--file", path)
    assert read_keys(path) == []


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(OptionError, match="lmserve keys create"):
        keys("list", "--file", path)
    with pytest.raises(OptionError, match="name"):
        keys("create", "a b", "--file", path)
    assert not path.exists()
    with pytest.raises(OptionError, match="requests_per_s"):
        keys("create", "a", "--requests-per-s", -1, "--file", path)
    keys("create", "a", "--file", path)
    with pytest.raises(OptionError, match="'b'"):
        keys("revoke", "b", "--file", path)
