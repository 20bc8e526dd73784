"""Timesteps as a table of HTML, which a notebook shows of an episode in place of its repr."""

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from gato_tokenize.field_spec import FieldSpec, ImageSpec
from gato_tokenize.modalities.image import ImageTokenizer
from gato_tokenize.output import counted

STEPS = 8  # shown
_HEIGHT = 96  # pixels of a picture in the page
_LONGEST = 200  # characters of a text, or of the numbers of one timestep
_NUMBERS = 8  # shown of the numbers of one timestep
_LARGEST = 256  # pixels a side to which a picture is reduced


def timesteps_html(
    facts: Mapping[str, str], specs: Mapping[str, FieldSpec], fields: Mapping[str, Any], rewards: Any
) -> str:
    """Draw the first timesteps: a column for each of up to 8, a row for each field and for the rewards, if there are
    any; above it the number of timesteps and the facts, {name: value}, that are not empty.

    specs, fields: {path: spec} and {path: values stacked along time}. Nothing in it is run by a browser: what the data
    says is text, whatever it holds.
    """
    count = len(next(iter(fields.values())))
    shown = range(min(STEPS, count))
    head = "".join(f"<th>{step}</th>" for step in shown)
    rows = [_row(path, [_cell(specs[path], values[step]) for step in shown]) for path, values in fields.items()]
    if rewards is not None:
        rows.append(_row("reward", [f"{rewards[step]:.4g}" for step in shown]))
    said = [f"{name} <b>{escape(_short(value))}</b>" for name, value in facts.items() if value]
    hidden = f"<p>{counted(count - len(shown), 'more timestep')}</p>" if count > len(shown) else ""
    summary = ", ".join([counted(count, "timestep"), *said])
    return f"<p>{summary}</p><table><tr><th>timestep</th>{head}</tr>{''.join(rows)}</table>{hidden}"


def _row(name: str, cells: list[str]) -> str:
    return f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _cell(spec: FieldSpec, value: Any) -> str:
    if isinstance(spec, ImageSpec):
        return _picture(spec, value)
    if isinstance(value, str):
        return escape(_short(value))
    array = np.asarray(value)
    numbers = [f"{one:.4g}" if array.dtype.kind == "f" else str(one) for one in array.reshape(-1)[:_NUMBERS].tolist()]
    return escape(" ".join(numbers) + (f" ... ({array.size})" if array.size > _NUMBERS else ""))


def _picture(spec: ImageSpec, value: Any) -> str:
    """Draw a picture as the model sees it, or say what is wrong with its file."""
    tokenizer = ImageTokenizer(*(spec.resize or (None, None)))
    try:
        pixels = tokenizer.decode(tokenizer.encode(value))
    except ValueError as error:
        return escape(_short(str(error)))
    image = Image.fromarray(pixels)
    image.thumbnail((_LARGEST, _LARGEST))
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    height, width = pixels.shape[:2]
    return f'<img height="{_HEIGHT}" alt="{height}x{width} pixels" src="data:image/png;base64,{data}">'


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
