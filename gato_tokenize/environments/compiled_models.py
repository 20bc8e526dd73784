"""MuJoCo models that are compiled once: an environment made again starts from a copy of its model.

Compiling a Meta-World scene from XML takes most of the time that an episode cut at success takes. An environment that
is made anew for each episode depends on nothing that was played before; a copy of the compiled model keeps that, where
resetting one environment again and again would have to be proven for each task.
"""

import collections
import contextlib
import copy
import sys
import threading
from collections.abc import Iterator
from typing import Any

MOST_MODELS = 4  # models that are kept: a process plays one environment for long, and a model may take 100 MB
compiled_models: collections.OrderedDict[tuple[Any, ...], Any] = collections.OrderedDict()
_lock = threading.RLock()  # reentrant: an environment may make another one


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """While the block runs, let `mujoco.MjModel.from_xml_path` return a copy of the model that a path gave before.

    The files of a simulator must not change while the process runs. Before anything has imported MuJoCo, the block just
    runs.
    """
    mujoco: Any = sys.modules.get("mujoco")
    if mujoco is None:
        yield
        return
    with _lock:
        compile_model = mujoco.MjModel.from_xml_path

        def copy_of_model(*arguments: Any, **kwargs: Any) -> Any:
            if kwargs or len(arguments) > 1:  # further files, given by content
                return compile_model(*arguments, **kwargs)
            if arguments not in compiled_models:
                compiled_models[arguments] = compile_model(*arguments)
            compiled_models.move_to_end(arguments)
            while len(compiled_models) > MOST_MODELS:
                compiled_models.popitem(last=False)
            return copy.copy(compiled_models[arguments])

        mujoco.MjModel.from_xml_path = copy_of_model
        try:
            yield
        finally:
            mujoco.MjModel.from_xml_path = compile_model
