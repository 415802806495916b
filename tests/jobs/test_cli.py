"""The command line as users meet it: a program with output, errors and an exit status."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from corpora import zipf_text
from programs import output, run

import lmserve


def test_score_answers_every_line(tiny_model_path: Path, tiny_model: lmserve.NgramModel) -> None:
    lines = ["w0 w1", "", "zzz w0"]
    answers = output("score", tiny_model_path, stdin="\n".join(lines).encode())
    records = [json.loads(line) for line in answers.splitlines()]
    assert [record["log10_prob"] for record in records] == [tiny_model.score(x) for x in lines]
    assert [record["perplexity"] for record in records] == [tiny_model.perplexity(x) for x in lines]
    assert [(record["tokens"], record["oov"]) for record in records] == [(3, 0), (1, 0), (3, 1)]
    assert all(set(r) == {"log10_prob", "perplexity", "tokens", "oov"} for r in records)


def test_score_shows_words(tiny_model_path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("w0 zzz\n")
    (answer,) = output("score", tiny_model_path, text, "--words").splitlines()
    record = json.loads(answer)
    assert [word["word"] for word in record["words"]] == ["w0", "zzz", "</s>"]
    assert [word["oov"] for word in record["words"]] == [False, True, False]
    total = sum(word["log10_prob"] for word in record["words"])
    assert total == pytest.approx(record["log10_prob"], rel=1e-12)
    assert all(1 <= word["ngram_length"] <= 3 for word in record["words"])


def test_score_answers_while_the_input_is_open(tiny_model_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.cli", "score", str(tiny_model_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"w0 w1\n", b"w2\n", b"w0\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["tokens"] == len(line.split()) + 1
        process.stdin.close()
    assert process.returncode == 0


def test_score_ends_quietly_when_its_reader_does(tiny_model_path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("w0 w1\n" * 100_000)
    command = f"{sys.executable} -m jobs.cli score {tiny_model_path} {text} | head -n 1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert json.loads(result.stdout)["tokens"] == 3
    assert result.stderr == ""


def test_eval_agrees_with_score(tiny_model_path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text(zipf_text(300, seed=9))
    result = json.loads(output("eval", tiny_model_path, text, "--json"))
    lines = [json.loads(x) for x in output("score", tiny_model_path, text, "--words").splitlines()]
    assert set(result) == {
        "perplexity", "perplexity_without_oov", "tokens", "oov", "log10_prob", "sentences",
        "seconds",
    }  # fmt: skip
    assert result["sentences"] == len(lines) == 300
    assert result["tokens"] == sum(line["tokens"] for line in lines)
    assert result["oov"] == sum(line["oov"] for line in lines) > 0
    assert result["log10_prob"] == pytest.approx(sum(line["log10_prob"] for line in lines))
    words = [word for line in lines for word in line["words"] if not word["oov"]]
    known = sum(word["log10_prob"] for word in words)
    assert result["perplexity_without_oov"] == pytest.approx(10 ** (-known / len(words)))
    piped = output("eval", tiny_model_path, "-", "--json", stdin=text.read_bytes())
    assert json.loads(piped)["log10_prob"] == result["log10_prob"]
    assert f"{result['perplexity']:,.2f}" in output("eval", tiny_model_path, text)


def test_next_info_and_export(tiny_model_path: Path, tmp_path: Path) -> None:
    words = json.loads(output("next", tiny_model_path, "w1 w0", "--top", 3, "--json"))
    assert len(words) == 3
    assert words[0]["word"] in output("next", tiny_model_path, "w1 w0")
    manifest = json.loads(output("info", tiny_model_path, "--json"))
    facts = output("info", tiny_model_path, "--verify")
    assert manifest["digest"] in facts
    for name, file in manifest["files"].items():
        assert re.search(rf"^{name} +{file['size_bytes']:,} bytes$", facts, re.MULTILINE)
    output("export", tiny_model_path, "--arpa", tmp_path / "tiny.arpa")
    assert (tmp_path / "tiny.arpa").read_text().startswith("\\data\\\nngram 1=")
    arpa = output("export", tiny_model_path, "--arpa", "-")
    assert arpa == (tmp_path / "tiny.arpa").read_text()


def test_special_tokens_are_taken_as_asked_for(tiny_model_path: Path) -> None:
    def tokens(choice: str) -> int:
        answer = output("score", tiny_model_path, "--special-tokens", choice, stdin=b"w0 <s> w1")
        return int(json.loads(answer)["tokens"])

    assert (tokens("error"), tokens("space")) == (4, 3)
    plain, spaced = (
        output("next", tiny_model_path, context, "--special-tokens", "space", "--json")
        for context in ("w0 w1", "w0 <s> w1")
    )
    assert plain == spaced != output("next", tiny_model_path, "w0 <s> w1", "--json")


def test_score_reads_what_a_shell_substitutes(tiny_model_path: Path) -> None:
    command = f"{sys.executable} -m jobs.cli score {tiny_model_path} <(echo w0 w1; echo w2)"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert [json.loads(line)["tokens"] for line in result.stdout.splitlines()] == [3, 2]


@pytest.mark.parametrize(
    ("file", "problem"),
    [("ngrams.arrow", "ngrams.arrow has"), ("manifest.json", "the manifest's digest is 000000")],
)
def test_damaged_models_are_named_with_a_remedy(
    tiny_model_path: Path, tmp_path: Path, file: str, problem: str
) -> None:
    model, text = tmp_path / "model", tmp_path / "text"
    text.write_text("w0\n")
    shutil.copytree(tiny_model_path, model)
    content = (model / file).read_bytes()
    if file == "manifest.json":
        digest = json.loads(content)["digest"].encode()
        (model / file).write_bytes(content.replace(digest, b"0" * len(digest)))
    else:
        (model / file).write_bytes(content[:-100])
    result = run("eval", model, text)
    assert result.returncode == 1
    error, remedy = result.stderr.splitlines()
    assert error.startswith(f"error: {model}")
    assert problem in error
    assert remedy.startswith("try: ")
    assert "again" in remedy


def test_build_from_a_pipe_and_then_use_it(tmp_path: Path) -> None:
    model = tmp_path / "model"
    text = zipf_text(600).encode()
    result = run("build", "-", "--output", model, "--order", 2, "--workers", 1, stdin=text)
    assert result.returncode == 0, result.stderr
    assert lmserve.load(model, check=True).order == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert "start Ray" in result.stderr
    assert f"lmserve eval {model}" in result.stderr


@pytest.mark.parametrize(
    ("content", "arguments", "status", "problem", "remedy"),
    [
        (b"", ["build", "TEXT", "-o", "OUT"], 1, "the input is empty", "one sentence a line"),
        (b"\x7fELF\0\1", ["build", "TEXT", "-o", "OUT"], 1, "line 1: a zero byte", "UTF-8 text"),
        (None, ["build", "TEXT", "-o", "OUT"], 1, "no such input file", "Check the spelling"),
        (b"a", ["build", "TEXT", "-o", "OUT", "--order", "0"], 2, "order is 0", "from 1 to 32"),
        (b"a", ["build", "TEXT", "-o", "OUT", "--memory", "lots"], 2, "'lots' is no", "2GB"),
        (b"a <s>", ["build", "TEXT", "-o", "OUT"], 1, "line 1: the text holds <s>", "space"),
        (b"a", ["build", "TEXT", "-o", "OUT", "--resume"], 1, "nothing to resume", "without"),
        (b"<unk>", ["eval", "MODEL", "TEXT"], 1, "line 1: the text holds <unk>", "keep-unk"),
        (b"a", ["eval", "TEXT", "TEXT"], 1, "is not a model", "lmserve build"),
        (b"", ["eval", "MODEL", "TEXT"], 1, "the input is empty", "one sentence a line"),
        (None, ["score", "MODEL", "TEXT"], 1, "no such input file", "Check the spelling"),
        (None, ["next", "MODEL", "a", "--top", "0"], 2, "top is 0", "1 next word or more"),
        (None, ["serve", "MODEL", "--port", "0"], 2, "port is 0", "1 to 65535"),
        (None, ["export", "MODEL", "--arpa", "OUT/arpa"], 1, "cannot write", "standard output"),
        (None, ["serve", "TEXT"], 1, "is not a model", "lmserve build"),
    ],
)
def test_errors_say_what_happened_and_what_to_do(
    tiny_model_path: Path,
    tmp_path: Path,
    content: bytes | None,
    arguments: list[str],
    status: int,
    problem: str,
    remedy: str,
) -> None:
    text, out = tmp_path / "text", tmp_path / "out"
    if content is not None:
        text.write_bytes(content)
    names = {"TEXT": str(text), "OUT": str(out), "MODEL": str(tiny_model_path)}
    result = run(*(names.get(argument, argument) for argument in arguments))
    assert result.returncode == status, result.stderr
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    tries = [line for line in lines if line.startswith("try:")]
    assert problem in errors[0]
    assert remedy in tries[0]
    assert "Traceback" not in result.stderr
    assert not out.exists()
    assert not out.with_name("out.building").exists()


def test_an_interrupted_build_can_be_resumed(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text(zipf_text(60_000, length=30, words=20_000))
    command = [sys.executable, "-m", "jobs.cli", "build", str(text), "--output", "model"]
    command += ["--workers", "1", "--order", "4"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("tokenize: "):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "stopped; what is done is kept in model.building: --resume goes on" in rest
    assert "raylet" not in rest
    result = subprocess.run([*command, "--resume"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert lmserve.load(tmp_path / "model", check=True).order == 4


@pytest.mark.parametrize(
    "command", [["build", "x", "-o", "y"], ["counts", "x", "-o", "y"], ["serve", "x"], ["demo"]]
)
def test_without_ray_it_says_what_to_install(command: list[str], tmp_path: Path) -> None:
    # As in an installation without extras: no finder finds the package.
    script = (
        "import sys\n"
        "class Hiding:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def __getattr__(self, name): return getattr(self.finder, name)\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return None if name == 'ray' else self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = map(Hiding, sys.meta_path)\n"
        "from jobs.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 1
    assert "error: Ray is not installed" in result.stderr
    assert "try: Install it: pip install 'lmserve[ray,serve]'." in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command",
    ["", "build", "counts", "eval", "score", "next", "info", "prune", "quantize", "serve", "demo"],
)
def test_help_is_there_for_every_command(command: str) -> None:
    arguments = [command, "--help"] if command else ["--help"]
    assert "Usage:" in output(*arguments)


@pytest.mark.parametrize(
    "job",
    [
        "build_ngram",
        "counts",
        "evaluate",
        "score",
        "next_words",
        "info",
        "export",
        "prune",
        "quantize",
        "serve",
        "demo",
    ],
)
def test_every_job_is_a_program_of_its_own(job: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout
