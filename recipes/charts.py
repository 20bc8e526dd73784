"""The charts of the page of results, as SVG that loads nothing."""

import collections
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gato_model.evaluation.scores import Interval, mean_interval
from gato_model.evaluation.summary import HALF
from recipes.ablations import BASE, mean_score
from recipes.scores import TaskScore

# hashsalt: the same numbers give the same bytes
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gato",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def bars(scores: Sequence[TaskScore]) -> str:
    """Draw the tasks' scores, best first within each domain, as SVG."""
    shown = [one for one in scores if one.values is not None]
    domains = list(dict.fromkeys(one.domain for one in shown))
    shown.sort(key=lambda one: (-domains.index(one.domain), float(np.mean(one.values or [0]))))
    with matplotlib.rc_context(_STYLE):
        figure = Figure((9, 0.6 + 0.17 * len(shown)), layout="tight")
        axes = figure.subplots()
        colours = matplotlib.colormaps["tab10"]
        left = -0.2
        for place, one in enumerate(shown):
            found = one.interval
            low, high = _bounds(found)
            left = min(left, low - 0.05)
            axes.barh(place, found.mean, color=colours(domains.index(one.domain) % 10))
            axes.plot([low, high], [place, place], color="black", linewidth=0.8)
        axes.set_yticks(range(len(shown)), [one.task for one in shown], fontsize=7)
        axes.axvline(HALF, color="grey", linewidth=0.8, linestyle="--")
        axes.set_xlim(left, 1.3)
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlabel("score: 0 plays like chance, 1 like the expert; line: 95% interval of the mean")
        return _svg(figure)


def curve(points: Sequence[tuple[int, float]]) -> str:
    """Draw the training loss, (step, nats a token) at each point, as SVG."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure((9, 2.8), layout="tight")
        axes = figure.subplots()
        axes.plot(*zip(*points, strict=True), linewidth=1)
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats a token")
        return _svg(figure)


def transfer(lines: Sequence[Mapping[str, Any]]) -> str:
    """Draw success by demonstrations, for each level and beginning that `recipes.transfer` measured, as SVG."""
    levels = list(dict.fromkeys(line["level"] for line in lines))
    numbers = sorted({line["demonstrations"] for line in lines})
    with matplotlib.rc_context(_STYLE):
        figure = Figure((4.5 * len(levels), 2.8), layout="tight")
        for axes, level in zip(figure.subplots(1, len(levels), squeeze=False)[0], levels, strict=True):
            points: dict[str, list[tuple[int, Interval]]] = collections.defaultdict(list)
            for line in lines:
                if line["level"] == level:
                    place = numbers.index(line["demonstrations"])
                    points[line["beginning"]].append((place, mean_interval(line["gato"]["successes"])))
            for beginning, found in points.items():
                places, intervals = zip(*found, strict=True)
                spread = [(one.mean - _bounds(one)[0], _bounds(one)[1] - one.mean) for one in intervals]
                means = [one.mean for one in intervals]
                axes.errorbar(places, means, np.transpose(spread), marker="o", capsize=3, label=f"from {beginning}")
            axes.set_title(level, fontsize=9)
            axes.set_xticks(range(len(numbers)), list(map(str, numbers)))
            axes.set_xlabel("demonstrations")
            axes.set_ylabel("success")
            axes.set_ylim(-0.05, 1.05)
            axes.legend(frameon=False)
        return _svg(figure)


def ablations(lines: Sequence[Mapping[str, Any]]) -> str:
    """Draw the mean score of each training that `recipes.ablations` measured, a row for each lever, as SVG."""
    levers = sorted(dict.fromkeys(line["lever"] for line in lines), key=lambda lever: lever != BASE)
    levers.reverse()  # the first is on top
    points = [(float(np.mean([mean_score(task) for task in line["tasks"]])), line["lever"]) for line in lines]
    with matplotlib.rc_context(_STYLE):
        figure = Figure((9, 0.8 + 0.22 * len(levers)), layout="tight")
        axes = figure.subplots()
        axes.scatter([score for score, _ in points], [levers.index(lever) for _, lever in points], alpha=0.7)
        base = [score for score, lever in points if lever == BASE]
        if base:
            axes.axvline(float(np.mean(base)), color="grey", linewidth=0.8, linestyle="--")
        axes.set_yticks(range(len(levers)), levers)
        axes.set_xlabel("mean score, a point for each training; dashed: the base")
        return _svg(figure)


def _bounds(interval: Interval) -> tuple[float, float]:
    low, high = interval.low, interval.high
    return (interval.mean if low is None else low, interval.mean if high is None else high)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
