"""DemoReader: one demonstration of a file in robomimic's layout."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.field_spec import ImageSpec
from pipelines.sources.formats.hdf5 import child, values_of
from pipelines.sources.formats.hdf5_steps import rows_at
from pipelines.sources.robomimic.demo_file import DemoFile, checked_actions, demo_text
from pipelines.sources.step_reading import StepReading

_AXES = {"no": (), "vertical": (1,), "both": (1, 2)}  # of pictures [T, height, width, channels] that are turned round


class DemoReader:
    """Reads a group `data/demo_K`, and only what it is asked for.

    rewards: one a timestep, or None. terminated: whether the last of `dones` is set. success: 1 or 0 where the
    environment was played with sparse rewards, which are above 0 in its states of success alone; -1: unknown.

    Raises ValueError that names the path of what is missing, or has another length.
    """

    def __init__(self, demo: Any, path: str, file: DemoFile, flip: str) -> None:
        self._demo, self._path, self._file, self._flip = demo, path, file, flip
        self._steps = len(checked_actions(demo, path))
        said = demo.attrs.get("num_samples", self._steps)
        if said != self._steps:
            raise ValueError(f"{path}: has {self._steps} actions, but its num_samples says {said}")
        self.rewards, dones = self._flat("rewards"), self._flat("dones")
        self.terminated = dones is not None and len(dones) > 0 and bool(dones[-1])
        self.success = -1
        if file.sparse and self.rewards is not None:
            self.success = int(bool(np.any(self.rewards > 0)))

    def arrays(self, reading: StepReading) -> dict[str, Any]:
        """Return {path of a field: its values} of what the reading needs."""
        keys, texts = self._file.fields.keys, self._file.texts
        found: dict[str, Any] = {}
        for name, path in reading.places.items():
            if path in texts:
                found[path] = texts[path]
            elif path in keys:
                picture = isinstance(reading.spec.fields.get(name), ImageSpec)
                turned = functools.partial(np.flip, axis=_AXES[self._flip]) if picture and self._flip != "no" else None
                found[path] = rows_at(self._demo, keys[path], self._path, turned)
            elif text := demo_text(self._demo):
                found[path] = text
        return found

    def _flat(self, key: str) -> NDArray[Any] | None:
        """Read an array of one number a timestep; None if there is none."""
        if key not in self._demo:
            return None
        path = f"{self._path}/{key}"
        values = values_of(child(self._demo, key, self._path), path, self._steps)
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise ValueError(f"{path}: expected a number a timestep, got {values.dtype} of shape {list(values.shape)}")
        return values
