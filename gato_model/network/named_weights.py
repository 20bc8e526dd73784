"""named_weights: every weight of a model by its path, such as `transformer.blocks.0.attention.query_key_value`."""

from collections.abc import Iterator
from typing import Any

import keras


def named_weights(model: keras.Model) -> dict[str, Any]:
    """Return the variables of `model.weights`, in that order, by their paths.

    A path holds the attributes that lead to the variable and its name, so it is the same in every process. Keras's own
    paths number the layers of a process.
    """
    paths = {id(variable): path for path, variable in _walk(model)}
    return {paths[id(variable)]: variable for variable in model.weights}


def _walk(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    inner = {f"{path}{name}": child for name, child in _layers(layer)}
    of_inner = {id(variable) for child in inner.values() for variable in child.weights}
    for variable in layer.weights:
        if id(variable) not in of_inner:
            yield f"{path}{variable.name}", variable
    for name, child in inner.items():
        yield from _walk(child, f"{name}.")


def _layers(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers that the public attributes of a layer hold, alone or in lists."""
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        if isinstance(value, keras.Layer):
            yield name, value
        elif isinstance(value, list | tuple):
            yield from ((f"{name}.{i}", one) for i, one in enumerate(value) if isinstance(one, keras.Layer))
