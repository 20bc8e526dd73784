"""Charts of a report as inline SVG: histograms of lengths, values and bins, and shares of tokens by kind.

The drawing library gets only numbers and words of this file; names that come from a dataset are written into the HTML
around a chart. A chart takes its colours from the page's style sheet, so that it suits a light and a dark page.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from gato_tokenize import Kind

_INK, _SOFT, _LINE = "#000001", "#000002", "#000003"  # placeholders for the page's colours
_CHANNELS = ("RED", "GREEN", "BLUE")
_FILLS = {name: f"#0001{number:02x}" for number, name in enumerate((*(kind.name for kind in Kind), *_CHANNELS))}
# Text stays text. There are no tick marks and no clipping: these would need ids, which must be unique on a page.
_STYLE: dict[Any, Any] = {
    **{"svg.fonttype": "none", "font.size": 9, "axes.grid": True, "axes.grid.axis": "y"},
    **{"xtick.bottom": False, "ytick.left": False, "ytick.minor.left": False, "axes.axisbelow": True},
    **{"axes.labelcolor": _INK, "xtick.labelcolor": _INK, "ytick.labelcolor": _INK},
    **{"axes.edgecolor": _LINE, "grid.color": _LINE, "axes.linewidth": 0.7, "grid.linewidth": 0.5},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False},
}
_COLUMNS, _FEW = 64, 8
_FLOOR = 0.7  # where a logarithmic axis begins: a column of height 1 is visible, an empty one is not


def lengths_chart(counts: Mapping[int, int], kind: Kind, what: str) -> str:
    """Draw how many episodes have each length: {length: episodes}."""
    values = np.array(sorted(counts))
    weights = np.array([counts[int(value)] for value in values])
    columns, edges = np.histogram(values, _edges(values), weights=weights)
    return _stairs(columns, edges, kind, what, "episodes")


def values_chart(values: NDArray[Any], kind: Kind, what: str) -> str:
    """Draw decoded values, real[n], on a logarithmic scale: otherwise a very frequent value would hide the others."""
    columns, edges = np.histogram(values.astype(np.float64), _edges(values))
    return _stairs(columns, edges, kind, what, "count, logarithmic", log=True)


def bins_chart(counts: NDArray[np.int64], kind: Kind) -> str:
    """Draw how often each bin of continuous values is used: int64[bins]; a column joins neighbouring bins."""
    edges = np.unique(np.linspace(0, len(counts), 2 * _COLUMNS + 1).astype(int))
    return _stairs(np.add.reduceat(counts, edges[:-1]), edges, kind, "bin", "count, logarithmic", log=True)


def pixels_chart(counts: NDArray[np.int64]) -> str:
    """Draw how often each pixel value occurs: int64[3, 256], one line each for red, green and blue."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("pixel value (a line for red, green, blue)", "count, logarithmic", log=True)
        edges = np.linspace(0, 256, _COLUMNS + 1)
        for name, channel in zip(_CHANNELS, counts, strict=True):
            columns = np.maximum(channel.reshape(_COLUMNS, -1).sum(axis=1), _FLOOR)
            axes.stairs(columns, edges, color=_FILLS[name], baseline=None, linewidth=1.2, clip_on=False)
        axes.set_ylim(bottom=_FLOOR)
        return _svg(figure)


def shares_chart(counts: Mapping[str, int]) -> str:
    """Draw one bar divided among the kinds of tokens: {kind's name in lower case: tokens}."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3, 0.16))
        axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
        left = 0
        for name, count in counts.items():
            axes.barh(0, count, left=left, color=_FILLS[name.upper()], clip_on=False)
            left += count
        axes.set_xlim(0, max(left, 1))
        return _svg(figure).replace("<svg ", '<svg preserveAspectRatio="none" ')


def _edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the borders of the columns; all columns of integers hold equally many of them."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu":
        width = max(1, -(-int(high - low + 1) // _COLUMNS))
        return np.asarray(np.arange(low, high + 1 + width, width) - 0.5)
    return np.linspace(low, high, _COLUMNS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _stairs(columns: NDArray[Any], edges: NDArray[Any], kind: Kind, what: str, how: str, log: bool = False) -> str:
    floor = _FLOOR if log else 0
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(what, how, log)
        heights = np.maximum(columns, floor)
        axes.stairs(heights, edges, fill=True, color=_FILLS[kind.name], baseline=floor, clip_on=False)
        axes.set_ylim(bottom=floor)
        axes.set_xlim(edges[0], edges[-1])
        if len(columns) < _FEW:  # otherwise a single column would fill the chart
            middle, half = (edges[0] + edges[-1]) / 2, (edges[1] - edges[0]) * _FEW / 2
            axes.set_xlim(middle - half, middle + half)
            axes.set_xticks((edges[:-1] + edges[1:]) / 2)  # one below each column, none below zero or beyond the last
        return _svg(figure)


def _axes(what: str, how: str, log: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.7, 1.75))
    axes = figure.add_axes((0.14, 0.25, 0.81, 0.63))
    axes.set_xlabel(what, labelpad=2)
    axes.set_title(how, loc="left", x=-0.16, fontsize=8, color=_SOFT)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=what != "value"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.grid(axis="y", clip_on=False)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Return the figure as one <svg> element without ids, addresses and fonts, so that a page can hold many."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)  # the style would apply to the whole page
    svg = re.sub(r' (id|xmlns|xmlns:xlink|version)="[^"]*"| ?font-family: [^;"]*;?', "", svg)
    for placeholder, name in (
        (_INK, "ink"),
        (_SOFT, "soft"),
        (_LINE, "line"),
        *((fill, name) for name, fill in _FILLS.items()),
    ):
        svg = svg.replace(placeholder, f"var(--{name.lower().replace('_', '-')})")
    return re.sub(r"\s*\n\s*", " ", svg).strip()
