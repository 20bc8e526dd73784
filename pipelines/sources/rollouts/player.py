"""Player: the processes that play rollouts, ahead of the reader, kept from one partition to the next."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator

from gato_tokenize.environments.recipe import MakeError
from pipelines.processes.child_process import START, ChildProcess
from pipelines.sources.errors import SourceError
from pipelines.sources.rollouts.rollout import Description, Played, Rollout, describe, play


@functools.lru_cache(maxsize=64)
def described(rollout: Rollout) -> Description:
    """Run `describe` in a process of its own: a constructor may crash, and this process should import no simulator.

    Raises SourceError if the environment cannot be made.
    """
    with ChildProcess(int) as child:
        try:
            found: Description = child.call(describe, rollout, limit=START)
        except MakeError as error:
            raise SourceError(str(error)) from error
        except (TimeoutError, ChildProcessError) as error:
            raise SourceError(f"{rollout.recipe.name} cannot be made: {error}") from error
        return found


class Player:
    """Plays episode i < `stop` of a rollout with seed `seed + i`. As soon as a second episode is asked for in order, it
    plays ahead, up to `stop`."""

    def __init__(self, child: ChildProcess, rollout: Rollout, seed: int, stop: int, limit: float) -> None:
        self._child: ChildProcess | None = child  # None: it was given back
        self._rollout, self._seed, self._stop, self._limit = rollout, seed, stop, limit
        self._ahead = child.calls(play, [], limit)
        self._next = -1

    def played(self, i: int) -> tuple[Played, Description]:
        """Play episode i. Raises what the environment or the policy raises, TimeoutError, ChildProcessError."""
        if self._child is None:
            with ChildProcess(describe, self._rollout) as alone:
                return alone.call(play, self._rollout, self._seed + i, limit=self._limit), alone.warmed
        in_order, self._next = i == self._next, i + 1
        future = next(self._ahead, None) if in_order else None
        if future is None:
            self._ahead.close()
            seeds = range(self._seed + i, self._seed + (self._stop if in_order else i + 1))
            self._ahead = self._child.calls(play, [(self._rollout, seed) for seed in seeds], self._limit)
            future = next(self._ahead)
        return future.result(), self._child.warmed

    def close(self) -> None:
        """Give the process back. An episode that is asked for later is played in a process of its own."""
        self._ahead.close()
        self._child = None


# Processes that wait for the next partition of their rollout, the one used last at the end: starting a process costs as
# much as playing a hundred episodes of BabyAI. Only a few wait, and none forever: simulators are large, and some leak.
_idle: dict[Rollout, ChildProcess] = {}
_idle_lock = threading.Lock()
MOST_IDLE, MOST_EPISODES = 2, 1000
os.register_at_fork(after_in_child=_idle.clear)  # the processes are the parent's


@contextlib.contextmanager
def process_for(rollout: Rollout) -> Iterator[ChildProcess]:
    """Lend a process to one caller. It is kept for the next one unless the block raises an exception."""
    with _idle_lock:
        child = _idle.pop(rollout, None) or ChildProcess(describe, rollout)
    try:
        yield child
    except BaseException:  # also GeneratorExit
        child.close()
        raise
    with _idle_lock:
        surplus = [child] if child.answered > MOST_EPISODES or rollout in _idle else []
        if not surplus:
            _idle[rollout] = child
            surplus = [_idle.pop(next(iter(_idle))) for _ in range(len(_idle) - MOST_IDLE)]
    for one in surplus:
        one.close()
