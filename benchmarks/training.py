"""Training speed: `python -m benchmarks.training`.

The peer is the loop of PyTorch's word-language-model example, written anew from its description: an
embedding, `nn.LSTM` with dropout, a linear layer, `log_softmax` and `nll_loss`, clipping by norm,
and weights changed by hand. Both learn the same batches of the same random words with as many
numbers, in turns, so that what else the machine does meets both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn

from lmserve.rnn.batches import Batch
from lmserve.rnn.config import NetworkConfig, TrainingConfig
from lmserve.rnn.network import Network
from lmserve.rnn.optimizing import make_optimizer
from lmserve.rnn.stepping import Stepper
from lmserve.rnn.workers import Workers

WORDS, SIZE, LAYERS, BATCH, LENGTH, DROP = 10_000, 200, 2, 20, 35, 0.2


class Peer(nn.Module):
    """The example's network."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(DROP)
        self.encoder = nn.Embedding(WORDS, SIZE)
        self.rnn = nn.LSTM(SIZE, SIZE, LAYERS, dropout=DROP)
        self.decoder = nn.Linear(SIZE, WORDS)

    def forward(
        self, words: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Log-probabilities [T B, V], and the state after."""
        output, state = self.rnn(self.drop(self.encoder(words)), state)
        logits = self.decoder(self.drop(output)).view(-1, WORDS)
        return torch.log_softmax(logits, 1), state


def peer_step(words: Tensor, targets: Tensor) -> Callable[[], None]:
    """One step of the example's loop."""
    network = Peer()
    zeros = torch.zeros(LAYERS, words.shape[1], SIZE)
    state: list[tuple[Tensor, ...]] = [(zeros, zeros)]

    def step() -> None:
        network.zero_grad()
        output, after = network(words, tuple(part.detach() for part in state[0]))
        state[0] = after
        loss = nn.functional.nll_loss(output, targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.25)
        for parameter in network.parameters():
            parameter.data.add_(parameter.grad, alpha=-1.0)
        loss.item()

    return step


def our_step(words: Tensor, targets: Tensor, *, bfloat16: bool) -> Callable[[], None]:
    """One step of lmserve's, with as many numbers: nothing tied."""
    dropped = {"drop_inputs": DROP, "drop_hidden": DROP, "drop_outputs": DROP}
    config = NetworkConfig(
        embedding_size=SIZE, hidden_size=SIZE, layers=LAYERS, tied=False, **dropped
    )
    training = TrainingConfig(optimizer="sgd", learning_rate=1.0, bfloat16=bfloat16)
    network = Network(config, WORDS)
    workers = Workers.joined(torch.device("cpu"))
    states = network.initial_states(words.shape[1])
    stepper = Stepper(network, make_optimizer(network, training), training, workers, states)
    batch = Batch(words, targets, 0)
    tokens = words.numel() * workers.size
    return lambda: _discard(stepper.step(batch, tokens=tokens, rate=1.0, seed=1))


def _discard(_: object) -> None:
    """A step's facts are not looked at here."""


def compare(threads: int, steps: int) -> dict[str, float]:
    """Tokens per second of each, the median step's."""
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    words, targets = (torch.randint(0, WORDS, (LENGTH, BATCH)) for _ in range(2))
    runs = {
        "peer": peer_step(words, targets),
        "lmserve": our_step(words, targets, bfloat16=False),
        "lmserve, bfloat16": our_step(words, targets, bfloat16=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(steps + 3):
        for name, step in runs.items():
            started = time.perf_counter()
            step()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - started)
    return {name: LENGTH * BATCH / statistics.median(times) for name, times in seconds.items()}


def scale(workers: int, steps: int, *, bfloat16: bool) -> float:
    """Tokens per second of some workers, each a process on a processor of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={workers}", "-m", "benchmarks.training", "--worker"]
    command += ["--steps", str(steps), *(["--bfloat16"] if bfloat16 else [])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(result.stdout.strip().splitlines()[-1])["tokens_per_s"])


def work(steps: int, *, bfloat16: bool) -> None:
    """What each worker of `scale` does: its columns of the batch, step by step."""
    distributed.init_process_group("gloo")
    rank, size = distributed.get_rank(), distributed.get_world_size()
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    torch.manual_seed(1)
    words, targets = (torch.randint(0, WORDS, (LENGTH, BATCH)) for _ in range(2))
    part = slice(BATCH * rank // size, BATCH * (rank + 1) // size)
    step = our_step(words[:, part].contiguous(), targets[:, part].contiguous(), bfloat16=bfloat16)
    times = []
    for _ in range(steps + 3):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    if rank == 0:
        rate = LENGTH * BATCH / statistics.median(times[3:])
        sys.stdout.write(json.dumps({"tokens_per_s": rate}) + "\n")
    distributed.destroy_process_group()


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bfloat16", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.steps, bfloat16=given.bfloat16)
        return
    cores = len(os.sched_getaffinity(0))
    print(
        f"LSTM {LAYERS} x {SIZE}, {WORDS:,} words, batch {BATCH}, length {LENGTH}; "
        f"torch {torch.__version__}, {cores} processors\n"
    )
    print("| | threads | tokens/s | ratio |\n| --- | --- | --- | --- |")
    for threads in sorted({cores, 1}, reverse=True):
        rates = compare(threads, given.steps)
        for name, rate in rates.items():
            print(f"| {name} | {threads} | {rate:,.0f} | {rate / rates['peer']:.2f} |")
    print(
        "\n| workers, one processor each | bfloat16 | tokens/s | ratio |\n| --- | --- | --- | --- |"
    )
    for bfloat16 in (False, True):
        one = scale(1, given.steps, bfloat16=bfloat16)
        for workers in range(1, cores + 1):
            rate = one if workers == 1 else scale(workers, given.steps, bfloat16=bfloat16)
            print(f"| {workers} | {'yes' if bfloat16 else 'no'} | {rate:,.0f} | {rate / one:.2f} |")


if __name__ == "__main__":
    main()
