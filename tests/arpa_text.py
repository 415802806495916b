"""ARPA text of a reference model: a way to model folders that shares no code with the builder."""

import math
from pathlib import Path

from reference import ReferenceModel


def write_reference_arpa(reference: ReferenceModel, path: Path) -> None:
    """Writes a model as ARPA, with all the digits of its float64 numbers."""
    lines: list[list[bytes]] = [[] for _ in range(reference.order + 1)]
    for ngram, prob, backoff in reference.ngrams():
        log10_prob = math.log10(prob) if prob > 0 else -99.0
        line = b"%r\t%s" % (log10_prob, b" ".join(ngram))
        if backoff not in (None, 1.0):
            line += b"\t%r" % (math.log10(backoff) if backoff else -99.0)
        lines[len(ngram)].append(line)
    with path.open("wb") as file:
        file.write(b"\\data\\\n")
        for k in range(1, reference.order + 1):
            file.write(b"ngram %d=%d\n" % (k, len(lines[k])))
        for k in range(1, reference.order + 1):
            file.write(b"\n\\%d-grams:\n" % k + b"".join(line + b"\n" for line in lines[k]))
        file.write(b"\n\\end\\\n")
