"""What `helm test` runs: sentences streamed through the service, one answer for each."""

import os
import sys

from lmserve.client import Client

SENTENCES = ["the file is closed .", "closed is . the file", "", "one more"] * 250

with Client(os.environ["LMSERVE_URL"]) as client:
    answers = list(client.score_stream(SENTENCES, batch=100))
    digest = client.health()["model"]
if len(answers) != len(SENTENCES) or any(answer["tokens"] < 1 for answer in answers):
    sys.exit(f"{len(answers)} answers to {len(SENTENCES)} sentences")
sys.stdout.write(f"{len(answers)} answers to {len(SENTENCES)} sentences, model {digest}\n")
