"""How a job is told to stop: by Ctrl-C, or by SIGTERM, as Ray, systemd and Kubernetes send it.

Either ends it in good order, by an exception that nothing but the program's end catches.
"""

import os
import signal
import sys
import threading

# What a shell makes of a program that a signal has ended.
SIGTERM_STATUS = 128 + signal.SIGTERM
_AGAIN_S = 0.05


def stop_on_sigterm() -> None:
    """Has SIGTERM raise `SystemExit(SIGTERM)` in the main thread, as Ray does in its drivers.

    Who has a handler already, or ignores the signal, keeps to that.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    sys.unraisablehook = _stop_again


def is_stop(error: BaseException | None) -> bool:
    """Whether an exception comes from Ctrl-C or SIGTERM."""
    return isinstance(error, KeyboardInterrupt) or is_sigterm(error)


def is_sigterm(error: BaseException | None) -> bool:
    """Whether an exception comes from SIGTERM."""
    return isinstance(error, SystemExit) and error.code == signal.SIGTERM


def _stop_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Sends a signal once more that came while a finaliser ran, where its exception is lost."""
    error = unraisable.exc_value
    if not is_stop(error):
        sys.__unraisablehook__(unraisable)
        return
    number = signal.SIGTERM if is_sigterm(error) else signal.SIGINT
    # Not at once, for the finaliser is not yet at its end.
    threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number)).start()
