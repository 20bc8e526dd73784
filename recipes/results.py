"""Draw what `recipes.scores` measured: one page for a browser, and tables to read as text.

    python -m recipes.results RUN results/scores.jsonl --out results

Copies the losses of the run to losses.jsonl beside the scores; an export has none, and those that are there are drawn.
Reads answers.json, text.json, transfer.jsonl, ablations.jsonl and filmstrips.json beside the scores, if they are there:
`recipes.answers`, `recipes.held_out_text`, `recipes.transfer`, `recipes.ablations` and `recipes.filmstrips` write them.
Writes OUT/README.md with a table of domains, one of tasks and the filmstrips, and OUT/index.html with the same and with
charts: the score of each task with its interval, the loss while the model learned, what it learned of levels that no
recipe has, and what each choice is worth. The page loads no other file. `make results` runs this.
"""

import argparse
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_model.evaluation.scores import interquartile_mean, mean_interval, mean_of_tasks
from gato_model.evaluation.summary import above_half
from gato_model.shipped import model_path
from gato_model.training.checkpoint import METRICS
from gato_model.training.run_log import read_metrics
from gato_tokenize.output import counted
from recipes import charts
from recipes.ablations import BASE, mean_score
from recipes.filmstrips import FILMSTRIPS, read_filmstrips, strips_as_html, strips_as_text
from recipes.scores import TaskScore, read_lines, read_scores

LOSSES = "losses.jsonl"
# Beside the scores, each with the command that writes it.
ABLATED, TRANSFERRED = "ablations.jsonl", "transfer.jsonl"
MEASURED = {
    TRANSFERRED: f"python -m recipes.transfer RUN --out results/{TRANSFERRED}",
    ABLATED: f"python -m recipes.ablations --out results/{ABLATED}",
}
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head, rows
_CSS = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.2rem .8rem;"
    "text-align:left;border-bottom:1px solid #8886}pre{overflow-x:auto}"
    "svg,img{max-width:100%;height:auto;background:#fff}figure{margin:1rem 0}figcaption{font-size:.9rem}"
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
    above = sum(map(above_half, known))
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
TRANSFER = ("level that no recipe has", "demonstrations", "beginning", "chance", "expert", "success")
ABLATIONS = (  # and a score for each source
    "choice (in brackets: each training seed)",
    "held-out loss of discrete actions",
    "of continuous actions",
)
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


def transfer_rows(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each line that `recipes.transfer` wrote."""
    return [
        (line["level"], str(line["demonstrations"]), line["beginning"],
         *(f"{np.mean(line[who]['successes']):.3g}" for who in ("random", "expert")),
         str(mean_interval(line["gato"]["successes"])))
        for line in lines
    ]  # fmt: skip


def ablation_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """The base and each lever that `recipes.ablations` measured: means, and in brackets those of each training seed."""
    levers = list(dict.fromkeys(line["lever"] for line in lines))
    sources = list(dict.fromkeys(task["source"] for line in lines for task in line["tasks"]))
    rows = []
    for lever in sorted(levers, key=lambda one: one != BASE):
        of_lever = sorted((line for line in lines if line["lever"] == lever), key=lambda line: line["seed"])
        losses = [[line["held_out"][kind] for line in of_lever] for kind in ("discrete", "continuous")]
        scores = [[mean_score(task) for task in line["tasks"]] for line in of_lever]
        columns = [*losses, *zip(*scores, strict=True), [float(np.mean(one)) for one in scores]]
        rows.append((lever, *(_of_seeds(column) for column in columns)))
    return (*ABLATIONS, *(f"score: {source}" for source in sources), "mean score"), rows


def _of_seeds(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} [{', '.join(f'{one:.2f}' for one in values)}]"


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


def commands_of(lines: Sequence[Mapping[str, Any]], measured: Sequence[str] = ()) -> list[str]:
    """The commands that play what the lines hold, write the other files, and draw: one for each way of playing."""
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
        *(MEASURED[name] for name in measured),
        "python -m recipes.filmstrips RUN results/scores.jsonl",
        "python -m recipes.results RUN results/scores.jsonl",
    ]


def losses_of(run: Path, file: Path) -> list[tuple[int, float]]:
    """Return (step, loss) for each logged step of a run, and keep them in a file; those of the file for an export."""
    if (model_path(run) / METRICS).exists():
        lines = [{"step": line["step"], "loss": round(line["loss"], 4)} for line in read_metrics(run) if "loss" in line]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return [(line["step"], line["loss"]) for line in read_lines(file)] if file.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.results", description=__doc__)
    parser.add_argument("run", type=Path, help="the training run's folder, for its loss, or an export")
    parser.add_argument("scores", type=Path, help="the file that `recipes.scores` wrote")
    parser.add_argument("--out", type=Path, default=Path("results"), help="(default: results)")
    arguments = parser.parse_args()
    lines = read_lines(arguments.scores)
    scores = read_scores(arguments.scores)
    said = about(lines)
    folder = arguments.scores.parent
    drawn = {"Score of each task": charts.bars(scores)}
    if losses := losses_of(arguments.run, folder / LOSSES):
        drawn["Loss while it learned"] = charts.curve(losses)
    measured = {name: read_lines(folder / name) for name in MEASURED if (folder / name).exists()}
    commands = commands_of(lines, list(measured))
    transferred, ablated = measured.get(TRANSFERRED, []), measured.get(ABLATED, [])
    if transferred:
        drawn["Levels that no recipe has"] = charts.transfer(transferred)
    if ablated:
        drawn["What each choice is worth"] = charts.ablations(ablated)
    strips = read_filmstrips(folder / FILMSTRIPS)
    if strips:
        drawn["One episode a domain"] = strips_as_html(strips, folder)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found: list[Table] = [
        (DOMAINS, domain_rows(scores)),
        (ANSWERS, answer_rows(arguments.scores.with_name("answers.json"))),
        (TEXT, text_rows(arguments.scores.with_name("text.json"))),
        (TRANSFER, transfer_rows(transferred)),
        ablation_table(ablated),
        (TASKS, task_rows(scores)),
    ]
    tables = [(head, rows) for head, rows in found if rows]
    shown = strips_as_text(strips, os.path.relpath(folder, arguments.out))
    (arguments.out / "README.md").write_text(markdown(tables, said, commands, shown), encoding="utf-8")
    (arguments.out / "index.html").write_text(page(tables, said, commands, drawn), encoding="utf-8")
    for row in domain_rows(scores):
        print("  ".join(row))
    print(f"{arguments.out}/index.html")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
