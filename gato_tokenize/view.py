"""A sequence as text to read: timestep by timestep, kind by kind, with images as coloured blocks in a terminal."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.output import counted
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.vocabulary import Kind

_COLOURS = {
    Kind.TEXT: 36,
    Kind.PATCH: 35,
    Kind.CONTINUOUS: 32,
    Kind.DISCRETE: 33,
    Kind.SEPARATOR: 90,
    Kind.CONTINUOUS_ACTION: 92,
    Kind.DISCRETE_ACTION: 93,
}


def show(
    sequence: TokenSequence,
    text: TextTokenizer | None = None,
    colour: bool = True,
    steps: int = 3,
    width: int = 100,
) -> str:
    """Show the first `steps` timesteps, with a line for each run of tokens of one kind; `*` marks those in the loss.

    text: decodes text tokens; without it their ids are shown. colour: ANSI colours, and images as half-block pixels;
    without it, plain text with the size of each image.
    """
    counts = ((len(sequence), "token"), (sequence.num_steps, "timestep"), (len(sequence.grids), "image"))
    lines = [", ".join(counted(count, noun) for count, noun in counts)]
    images = _images(sequence)
    for step in range(min(steps, sequence.num_steps)):
        lines.append(f"timestep {step}")
        start, stop = int(sequence.step_splits[step]), int(sequence.step_splits[step + 1])
        for first, last in _runs(sequence, start, stop):
            kind, loss = Kind(int(sequence.kinds[first])), bool(sequence.loss_mask[first])
            if kind == Kind.PATCH:
                patches = last - first
                while patches > 0:  # two images may stand side by side
                    image = next(images)
                    patches -= image.shape[0] * image.shape[1] // 256
                    lines.append(_label(kind, loss, colour) + f"{image.shape[0]}x{image.shape[1]} pixels")
                    lines += [f"    {line}" for line in _blocks(image, width - 4)] if colour else []
                continue
            lines.append(_label(kind, loss, colour) + _content(sequence, kind, first, last, text, width))
    if sequence.num_steps > steps:
        lines.append(f"... {counted(sequence.num_steps - steps, 'more timestep')}")
    return "\n".join(lines)


def _runs(sequence: TokenSequence, start: int, stop: int) -> Iterator[tuple[int, int]]:
    codes = sequence.kinds[start:stop].astype(int) * 2 + sequence.loss_mask[start:stop]
    borders = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)] if len(codes) else [0]
    for first, last in zip(borders, borders[1:], strict=False):
        yield start + first, start + last


def _label(kind: Kind, loss: bool, colour: bool) -> str:
    label = f"  {kind.name.lower().replace('_', ' '):<18}{'*' if loss else ' '} "
    return f"\x1b[{_COLOURS[kind]}m{label}\x1b[0m" if colour else label


def _content(sequence: TokenSequence, kind: Kind, first: int, last: int, text: TextTokenizer | None, width: int) -> str:
    ids = sequence.ids[first:last]
    if kind == Kind.TEXT and text is not None:
        shown = repr(text.decode(ids))
    else:
        shown = " ".join(map(str, ids.tolist()))
    room = max(width - 24, 20)
    return shown if len(shown) <= room else f"{shown[: room - 24]} ... ({last - first} tokens)"


def _images(sequence: TokenSequence) -> Iterator[NDArray[np.uint8]]:
    at = 0
    for rows, columns in sequence.grids.tolist():
        patches = sequence.patches[at : at + rows * columns].reshape(rows, columns, 16, 16, 3)
        at += rows * columns
        yield patches.transpose(0, 2, 1, 3, 4).reshape(rows * 16, columns * 16, 3)


def _blocks(image: NDArray[np.uint8], width: int) -> list[str]:
    """Draw an image as lines of upper half blocks: each character is two pixels, foreground above background."""
    stride = max(1, -(-image.shape[1] // min(width, 64)))
    height, columns = image.shape[0] // (2 * stride) * 2 * stride, image.shape[1] // stride * stride
    small = image[:height, :columns].reshape(height // stride, stride, columns // stride, stride, 3).mean(axis=(1, 3))
    lines = []
    for upper, lower in zip(small[::2].astype(int), small[1::2].astype(int), strict=True):
        cells = zip(upper.tolist(), lower.tolist(), strict=True)
        line = "".join(f"\x1b[38;2;{a};{b};{c};48;2;{d};{e};{f}m▀" for (a, b, c), (d, e, f) in cells)
        lines.append(line + "\x1b[0m")
    return lines
