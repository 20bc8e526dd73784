"""Charts of a report as inline SVG: histograms of lengths, values and bins, curves over time, shares of tokens by kind.

The drawing library gets only numbers and words of this file; names that come from a dataset are written into the HTML
around a chart. A chart takes its colours from the page's style sheet, so that it suits a light and a dark page.
"""

import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from gato_tokenize import Kind
from gato_tokenize.output import counted

_INK, _SOFT, _LINE = "#000001", "#000002", "#000003"  # placeholders for the page's colours
_CHANNELS = ("RED", "GREEN", "BLUE")
MOST_CURVES = 6  # in one chart
_CURVES = tuple(f"CURVE_{number}" for number in range(MOST_CURVES))
_NAMES = (*(kind.name for kind in Kind), *_CHANNELS, *_CURVES)
_FILLS = {name: f"#0001{number:02x}" for number, name in enumerate(_NAMES)}
# Text stays text. There are no tick marks and no clipping: these would need ids, which must be unique on a page.
_STYLE: dict[Any, Any] = {
    **{"svg.fonttype": "none", "font.size": 9, "axes.grid": True, "axes.grid.axis": "y"},
    **{"xtick.bottom": False, "ytick.left": False, "ytick.minor.left": False, "axes.axisbelow": True},
    **{"axes.labelcolor": _INK, "xtick.labelcolor": _INK, "ytick.labelcolor": _INK},
    **{"axes.edgecolor": _LINE, "grid.color": _LINE, "axes.linewidth": 0.7, "grid.linewidth": 0.5},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False},
}
_COLUMNS, _FEW = 64, 8
_POINTS = 120  # along a curve
_LABELS = 45  # characters that fit below a chart
_FLOOR = 0.7  # where a logarithmic axis begins: a column of height 1 is visible, an empty one is not


@dataclasses.dataclass(frozen=True)
class Chart:
    """An SVG, and what it says at places along its horizontal axis."""

    svg: str
    marks: list[tuple[float, str]]  # (percent of the axis from the left, text)


def lengths_chart(counts: Mapping[int, int], kind: Kind, what: str) -> Chart:
    """Draw how many episodes have each length: {length: episodes}."""
    values = np.array(sorted(counts))
    weights = np.array([counts[int(value)] for value in values])
    columns, edges = np.histogram(values, _edges(values), weights=weights)
    return _stairs(columns, edges, kind, what, "episode")


def values_chart(values: NDArray[Any], kind: Kind, what: str) -> Chart:
    """Draw decoded values, real[n], on a logarithmic scale: otherwise a very frequent value would hide the others."""
    columns, edges = np.histogram(values.astype(np.float64), _edges(values))
    return _stairs(columns, edges, kind, what, "time", log=True)


def bins_chart(counts: NDArray[np.int64], kind: Kind) -> Chart:
    """Draw how often each bin of continuous values is used: int64[bins]; a column joins neighbouring bins."""
    edges = np.unique(np.linspace(0, len(counts), 2 * _COLUMNS + 1).astype(int))
    return _stairs(np.add.reduceat(counts, edges[:-1]), edges - 0.5, kind, "bin", "time", log=True)


def pixels_chart(counts: NDArray[np.int64]) -> Chart:
    """Draw how often each pixel value occurs: int64[3, 256], one line each for red, green and blue."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("pixel value (a line for red, green, blue)", "count, logarithmic", log=True)
        edges = np.linspace(0, 256, _COLUMNS + 1)
        columns = counts.reshape(3, _COLUMNS, -1).sum(axis=2)
        for name, channel in zip(_CHANNELS, columns, strict=True):
            heights = np.maximum(channel, _FLOOR)
            axes.stairs(heights, edges, color=_FILLS[name], baseline=None, linewidth=1.2, clip_on=False)
        axes.set_ylim(bottom=_FLOOR)
        axes.set_xlim(0, 256)
        spans = _spans("pixel value", edges - 0.5)
        texts = (
            f"{span}: red {red:,}, green {green:,}, blue {blue:,}"
            for span, (red, green, blue) in zip(spans, columns.T.tolist(), strict=True)
        )
        return Chart(_svg(figure), _marks(axes, (edges[:-1] + edges[1:]) / 2, texts))


def curves_chart(values: NDArray[np.floating[Any]], names: list[str], shown: int) -> Chart:
    """Draw real[T, n] over T > 1 timesteps, a line for each of n <= MOST_CURVES names; the first `shown` are shaded.

    Of more than _POINTS timesteps, stretches of equal length are drawn from their lowest to their highest value.
    """
    each = len(values) <= _POINTS
    edges = np.unique(np.linspace(0, len(values), (len(values) if each else _POINTS // 2) + 1).astype(int))
    lows, highs = (np.asarray(extreme.reduceat(values, edges[:-1])) for extreme in (np.minimum, np.maximum))
    middles = (edges[:-1] + edges[1:] - 1) / 2
    x = middles if each else np.repeat(middles, 2)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes("timestep", "", log=False)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.axvspan(-0.5, min(shown, len(values)) - 0.5, color=_LINE, alpha=0.4, linewidth=0, clip_on=False)
        for curve, low, high in zip(_CURVES, lows.T, highs.T, strict=False):
            y = low if each else np.stack([low, high], axis=1).ravel()
            axes.plot(x, y, color=_FILLS[curve], linewidth=1.2, clip_on=False)
        axes.set_xlim(-0.5, len(values) - 0.5)
        spans = _spans("timestep", edges - 0.5)
        texts = (
            f"{span}: " + ", ".join(map(_said, names, low, high))
            for span, low, high in zip(spans, lows.tolist(), highs.tolist(), strict=True)
        )
        return Chart(_svg(figure), _marks(axes, middles, texts))


def _said(name: str, low: float, high: float) -> str:
    """Say the value of a curve, or from where to where it goes."""
    value = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return f"{name} = {value}" if name else value


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
        return _svg(figure).replace("<svg ", '<svg preserveAspectRatio="none" aria-hidden="true" ')


def _edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the borders of the columns; all columns of integers hold equally many of them."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind in "iu":
        width = max(1, -(-int(high - low + 1) // _COLUMNS))
        return np.asarray(np.arange(low, high + 1 + width, width) - 0.5)
    return np.linspace(low, high, _COLUMNS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _spans(what: str, edges: NDArray[Any]) -> Iterator[str]:
    """Yield what each column covers; between edges that end in .5, these are integers."""
    whole = bool((edges % 1 == 0.5).all())
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        first, last = (int(low + 0.5), int(high - 0.5)) if whole else (low, high)
        span = f"{_short(first)} to {_short(last)}" if last > first else _short(first)
        yield f"{what} {span}"


def _marks(axes: Axes, middles: NDArray[Any], texts: Iterable[str]) -> list[tuple[float, str]]:
    low, high = map(float, axes.get_xlim())
    return [(round(100 * (x - low) / (high - low), 1), text) for x, text in zip(middles.tolist(), texts, strict=True)]


def _stairs(columns: NDArray[Any], edges: NDArray[Any], kind: Kind, what: str, noun: str, log: bool = False) -> Chart:
    """Draw columns; `noun` is what is counted."""
    floor = _FLOOR if log else 0
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(what, "count, logarithmic" if log else f"{noun}s", log)
        heights = np.maximum(columns, floor)
        axes.stairs(heights, edges, fill=True, color=_FILLS[kind.name], baseline=floor, clip_on=False)
        axes.set_ylim(bottom=floor)
        axes.set_xlim(edges[0], edges[-1])
        middles = (edges[:-1] + edges[1:]) / 2
        if len(columns) < _FEW:  # otherwise a single column would fill the chart
            middle, half = (edges[0] + edges[-1]) / 2, (edges[1] - edges[0]) * _FEW / 2
            axes.set_xlim(middle - half, middle + half)
            longest = max(len(_short(x)) for x in middles)
            axes.set_xticks(middles[:: -(-_FEW * (longest + 1) // _LABELS)])  # below columns only: none below zero
        full = columns > 0
        spans = (span for span, some in zip(_spans(what, edges), full, strict=True) if some)
        texts = (f"{span}: {counted(int(n), noun)}" for span, n in zip(spans, columns[full], strict=True))
        return Chart(_svg(figure), _marks(axes, middles[full], texts))


def _axes(what: str, how: str, log: bool) -> tuple[Figure, Axes]:
    """Return an empty chart; the page's style sheet knows where in it the axes stand."""
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.grid(axis="y", clip_on=False)
    return figure, axes


def _short(value: float) -> str:
    """Write a number of at most seven digits in full, a longer one with four.

    >>> _short(1234567), _short(2**62), _short(-0.25)
    ('1,234,567', '4.612e+18', '-0.25')
    """
    return f"{value:,.7g}" if abs(value) < 1e7 and value == round(value) else f"{value:.4g}"


def _svg(figure: Figure) -> str:
    """Return the figure as one <svg> element without ids, addresses and fonts, so that a page can hold many."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)  # the style would apply to the whole page
    svg = re.sub(r' (id|xmlns|xmlns:xlink|version)="[^"]*"| ?font-family: [^;"]*;?', "", svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*"|</?g>|<defs>\s*</defs>', "", svg)  # these do nothing
    svg = re.sub(r'(?<= )(d|x|y)="[^"]*"', lambda attribute: re.sub(r"\d+\.\d+", _tenths, attribute[0]), svg)
    for placeholder, name in (
        (_INK, "ink"),
        (_SOFT, "soft"),
        (_LINE, "line"),
        *((fill, name) for name, fill in _FILLS.items()),
    ):
        svg = svg.replace(placeholder, f"var(--{name.lower().replace('_', '-')})")
    return re.sub(r"\s*\n\s*", " ", svg).strip()


def _tenths(number: re.Match[str]) -> str:
    """Round a coordinate to a tenth of a point, less than one can see."""
    return f"{float(number[0]):.1f}".removesuffix(".0")
