"""ConfiguredLayer: a Keras layer whose sizes come from a GatoConfig."""

import dataclasses
from typing import Any

import keras

from gato_model.config import GatoConfig


class ConfiguredLayer(keras.layers.Layer):
    """A layer that is saved with its `GatoConfig`, also as a part of another model's `.keras` file."""

    def __init__(self, config: GatoConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": dataclasses.asdict(self.config)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ConfiguredLayer":
        return cls(**{**config, "config": GatoConfig(**config["config"])})
