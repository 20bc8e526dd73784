"""Draw what `recipes.scores` measured: one page for a browser, and tables to read as text.

    python -m recipes.results RUN results/scores.jsonl --out results

Reads answers.json, text.json and filmstrips.json beside the scores, if they are there: `recipes.answers`,
`recipes.held_out_text` and `recipes.filmstrips` write them. Writes OUT/README.md with a table of domains, one of tasks
and the filmstrips, and OUT/index.html with the same and with charts: the score of each task with its interval, and the
loss while the model learned. The page loads no other file. `make results` runs this.
"""

import argparse
import dataclasses
import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gato_model.evaluation.scores import Interval, interquartile_mean, mean_interval, mean_of_tasks
from gato_model.evaluation.summary import HALF
from gato_tokenize.output import counted
from recipes.filmstrips import FILMSTRIPS, read_filmstrips, strips_as_html, strips_as_text
from recipes.scores import score

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head, rows
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
_CSS = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.2rem .8rem;"
    "text-align:left;border-bottom:1px solid #8886}pre{overflow-x:auto}"
    "svg,img{max-width:100%;height:auto;background:#fff}figure{margin:1rem 0}figcaption{font-size:.9rem}"
)


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """A task's normalised scores: 0 plays like chance, 1 like the expert. values is None where there is no score."""

    domain: str
    task: str
    by: str  # "success" or "return"
    values: list[float] | None
    random: float
    expert: float
    gato: float

    @property
    def interval(self) -> Interval:
        assert self.values is not None
        return mean_interval(self.values)


def read_scores(path: Path) -> list[TaskScore]:
    """Read the lines of `recipes.scores`."""
    return [_task_score(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _task_score(line: Mapping[str, Any]) -> TaskScore:
    found = score(dict(line))
    key = "returns" if line["gato"]["successes"] is None else "successes"
    means = {name: float(np.mean(line[name][key])) for name in ("random", "expert", "gato")}
    by = "success" if key == "successes" else "return"
    return TaskScore(
        line["recipe"], line["task"], by, None if found is None else [round(one, 6) for one in found[0]], **means
    )


def domain_rows(scores: Sequence[TaskScore]) -> list[tuple[str, ...]]:
    """A row for each domain and one for all: tasks, those above half of the expert, interquartile mean, mean."""
    domains = list(dict.fromkeys(one.domain for one in scores))
    parts = [(name, [one for one in scores if one.domain == name]) for name in domains]
    return [_domain_row(name, part) for name, part in [*parts, ("all", list(scores))]]


def _domain_row(name: str, scores: Sequence[TaskScore]) -> tuple[str, ...]:
    known = [one.values for one in scores if one.values is not None]
    if not known:
        return (name, str(len(scores)), "", "", "")
    above = sum(float(np.mean(values)) > HALF for values in known)
    return (
        name,
        str(len(scores)),
        f"{above} of {len(known)}",
        str(interquartile_mean(known)),
        str(mean_of_tasks(known)),
    )


def task_rows(scores: Sequence[TaskScore]) -> list[tuple[str, ...]]:
    """A row for each task: domain, task, chance, expert, model, score with its interval."""
    return [
        (one.domain, one.task, f"{one.random:.3g}", f"{one.expert:.3g}", f"{one.gato:.3g}", one.by,
         "the expert is no better than chance" if one.values is None else str(one.interval))
        for one in scores
    ]  # fmt: skip


DOMAINS = ("domain", "tasks", "above half of the expert", "interquartile mean", "mean of tasks")
ANSWERS = ("test set of easy-vqa", "number", "model", "the most frequent in training")
TEXT = ("held-out text, bits per byte", "bytes", "model", "5-grams of the same training text", "equal chances")
TASKS = ("domain", "task", "chance", "expert", "model", "by", "score")


def answer_rows(path: Path) -> list[tuple[str, ...]]:
    """A row for questions and one for captions, of the file that `recipes.answers` wrote; none if it is not there."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        (name, str(row["count"]), f"{row['model']:.3g} [{row['interval'][0]:.3g}, {row['interval'][1]:.3g}]",
         f"{row['most_frequent']:.3g} ({row['which_is']})")
        for name, row in found.items()
    ]  # fmt: skip


def text_rows(path: Path) -> list[tuple[str, ...]]:
    """The row of the file that `recipes.held_out_text` wrote; none if it is not there."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    bits = (f"{found[name]:.3g}" for name in ("model", "grams", "equal_chances"))
    return [(f"{found['documents']} docstrings of Python's standard library", f"{found['bytes']:,}", *bits)]


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
            low, high = (found.mean if bound is None else bound for bound in (found.low, found.high))
            left = min(left, low - 0.05)
            axes.barh(place, found.mean, color=colours(domains.index(one.domain) % 10))
            axes.plot([low, high], [place, place], color="black", linewidth=0.8)
        axes.set_yticks(range(len(shown)), [one.task for one in shown], fontsize=7)
        axes.axvline(HALF, color="grey", linewidth=0.8, linestyle="--")
        axes.set_xlim(left, 1.3)
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlabel("score: 0 plays like chance, 1 like the expert; line: 95% interval of the mean")
        return _svg(figure)


def curve(metrics: Path) -> str:
    """Draw the training loss of a run's metrics.jsonl, by steps, as SVG."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    points = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    with matplotlib.rc_context(_STYLE):
        figure = Figure((9, 2.8), layout="tight")
        axes = figure.subplots()
        axes.plot(*zip(*points, strict=True), linewidth=1)
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats a token")
        return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def markdown(tables: Sequence[Table], about: str, commands: Sequence[str], strips: str = "") -> str:
    """The page as text; the strips stand after the first table."""
    typed = "\n".join(f"    {command}" for command in commands)
    first, *others = [_markdown_table(*table) for table in tables]
    parts = ["# Scores of one model", about, typed, first, strips, *others]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(tables: Sequence[Table], about: str, commands: Sequence[str], charts: Mapping[str, str]) -> str:
    """The page for a browser, with the charts under their titles."""
    drawn = "".join(f"<h2>{html.escape(title)}</h2>{svg}" for title, svg in charts.items())
    typed = html.escape("\n".join(commands))
    listed = "".join(_html_table(*table) for table in tables)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Scores of one model</title><style>{_CSS}</style><h1>Scores of one model</h1>"
        f"<p>{html.escape(about)}</p><pre>{typed}</pre>{drawn}{listed}</html>\n"
    )


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [_html_row("th", head), *(_html_row("td", row) for row in rows)]
    return f"<table>{''.join(cells)}</table>"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def about(lines: Sequence[Mapping[str, Any]]) -> str:
    """Say in words what was played how."""
    episodes = sorted({len(line["gato"]["returns"]) for line in lines})
    count = str(episodes[0]) if len(episodes) == 1 else f"{episodes[0]} to {episodes[-1]}"
    seeds = min(line["seeds"] for line in lines)
    return (
        f"One set of weights, {counted(len(lines), 'task')}, {count} episodes of each on seeds from {seeds[0]:,} on,"
        " which no recipe uses, by the commands below. The model, its expert and a random policy play the same seeds"
        " for the same number of steps. A score is by success where the environment tells it, else by return: 0 plays"
        " like chance, 1 like the expert. Brackets are 95% bootstrap intervals: of the mean for a task, stratified by"
        " task for a domain."
    )


def commands_of(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The commands that play what the lines hold, and draw it: one for each way in which a recipe was played."""
    ways = dict.fromkeys(
        f"python -m recipes.scores RUN {line['recipe']} --out results/scores.jsonl --episodes"
        f" {len(line['gato']['returns'])} --temperature {line['acting']['temperature']:g} --continuous"
        f" {line['acting']['continuous']} --context {line['acting'].get('context', 'memory')}"
        for line in lines
    )
    return [
        *ways,
        "python -m recipes.answers RUN --out results/answers.json",
        "python -m recipes.held_out_text RUN --out results/text.json",
        "python -m recipes.filmstrips RUN results/scores.jsonl",
        "python -m recipes.results RUN results/scores.jsonl",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.results", description=__doc__)
    parser.add_argument("run", type=Path, help="the training run's folder, for its loss")
    parser.add_argument("scores", type=Path, help="the file that `recipes.scores` wrote")
    parser.add_argument("--out", type=Path, default=Path("results"), help="(default: results)")
    arguments = parser.parse_args()
    lines = [json.loads(line) for line in arguments.scores.read_text(encoding="utf-8").splitlines()]
    scores = read_scores(arguments.scores)
    commands = commands_of(lines)
    said = about(lines)
    charts = {
        "Score of each task": bars(scores),
        "Loss while it learned": curve(arguments.run / "metrics.jsonl"),
    }
    folder = arguments.scores.parent
    strips = read_filmstrips(folder / FILMSTRIPS)
    if strips:
        charts["One episode a domain"] = strips_as_html(strips, folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: list[Table] = [
        (DOMAINS, domain_rows(scores)),
        (ANSWERS, answer_rows(arguments.scores.with_name("answers.json"))),
        (TEXT, text_rows(arguments.scores.with_name("text.json"))),
        (TASKS, task_rows(scores)),
    ]
    tables = [(head, rows) for head, rows in found if rows]
    shown = strips_as_text(strips, os.path.relpath(folder, arguments.out))
    (arguments.out / "README.md").write_text(markdown(tables, said, commands, shown), encoding="utf-8")
    (arguments.out / "index.html").write_text(page(tables, said, commands, charts), encoding="utf-8")
    for row in domain_rows(scores):
        print("  ".join(row))
    print(f"{arguments.out}/index.html")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
