"""Every error that lmserve raises on purpose.

LmserveError
├── InputError              text that cannot be read or may not be counted
│   └── RefusedTextError    its content may not be counted, however often it is read
├── OptionError             a setting outside its range, or settings that contradict each other
├── BuildError              a build that cannot start, go on or finish
│   └── DiscountError       counts of counts from which no discount follows
├── TrainingError           a training that cannot start, go on or finish
├── ScoringError            a scoring of a corpus that cannot start, go on or finish
├── ModelError              a model folder that cannot be used
│   └── CorruptModelError   its bytes are not the ones its manifest describes
├── StateError              a packed state that is damaged, or another model's
├── ServiceError            a running service cannot be reached, or refuses
└── DependencyError         an optional package is not installed
"""


class LmserveError(Exception):
    """An error with a remedy.

    Args:
        problem: what went wrong, with the offending value and, where known, its likely cause.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        # Both go to Exception.args, so that the error survives the way back from a worker process.
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}"


class InputError(LmserveError):
    """Text that cannot be read or may not be counted."""


class RefusedTextError(InputError):
    """Text whose content may not be counted, however often it is read."""


class OptionError(LmserveError, ValueError):
    """A setting outside its range, or settings that contradict each other."""


class BuildError(LmserveError):
    """A build that cannot start, go on or finish."""


class DiscountError(BuildError):
    """Counts of counts from which no Kneser-Ney discount follows."""


class TrainingError(LmserveError):
    """A training that cannot start, go on or finish."""


class ScoringError(LmserveError):
    """A scoring of a corpus that cannot start, go on or finish."""


class ModelError(LmserveError):
    """A model folder that cannot be used."""


class CorruptModelError(ModelError):
    """A model whose bytes are not the ones its manifest describes."""


class StateError(LmserveError):
    """A packed state that is damaged, or another model's."""


class ServiceError(LmserveError):
    """A running service cannot be reached, or refuses.

    Args:
        problem: as in `LmserveError`.
        remedy: as in `LmserveError`.
        status: of HTTP; None where no complete answer came.
        detail: what the service says is wrong.
        request_id: by which the service's log names the request.
        passing: whether the same request may succeed later.
        retry_after_s: how long the service asks to wait before that, in seconds.
    """

    def __init__(
        self,
        problem: str,
        remedy: str,
        *,
        status: int | None = None,
        detail: str | None = None,
        request_id: str | None = None,
        passing: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.detail = detail
        self.request_id = request_id
        self.passing = passing
        self.retry_after_s = retry_after_s


class DependencyError(LmserveError, ImportError):
    """An optional package is not installed."""
