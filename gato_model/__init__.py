"""Gato's model on TensorFlow and Keras 3: batches from converted records, training, acting (Reed et al. 2022).

The names below are imported when first used: reading batches does not import TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gato_model.acting.policy import GatoPolicy as GatoPolicy
    from gato_model.config import GatoConfig as GatoConfig
    from gato_model.data.batches import batches as batches
    from gato_model.data.share import Share as Share
    from gato_model.network.model import Gato as Gato
    from gato_model.training.checkpoint import load as load

_HOMES = {  # in the order in which data meets them
    "Share": "data.share",
    "batches": "data.batches",
    "GatoConfig": "config",
    "Gato": "network.model",
    "load": "training.checkpoint",
    "GatoPolicy": "acting.policy",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
