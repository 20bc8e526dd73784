"""The command `sources`: what can be read, and what it needs."""

import argparse
import dataclasses
from typing import Any

from gato_tokenize.output import Output
from pipelines.inspection.overview import table
from pipelines.sources.catalogue import Known, known_sources


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the command; returns 0, or 2 if there is no source of the name."""
    known = known_sources()
    chosen = [source for source in known if arguments.source in (None, source.name)]
    if not chosen:
        names = ", ".join(source.name for source in known)
        return output.error(f"{arguments.source!r} is no source; known: {names}")
    draw = _options if arguments.source else _overview
    text = output.drawn(lambda console: console.print(draw(chosen)))
    advice = dict.fromkeys(source.install for source in chosen if source.install)
    lines = [text, *(f"to install what is missing: {command}" for command in advice)]
    return output.result("\n".join(lines), {"sources": [_document(source) for source in chosen]})


def _overview(known: list[Known]) -> Any:
    rows = [[one.name, one.reads, one.extra or one.package, one.status] for one in known]
    return table(("source", "reads", "extra or package", "installed"), rows)


def _options(known: list[Known]) -> Any:
    rows = [[name, default, help] for one in known for name, (default, help) in one.options.items()]
    return table(("option", "default", "meaning"), rows)


def _document(source: Known) -> dict[str, Any]:
    options = {name: {"default": default, "help": help} for name, (default, help) in source.options.items()}
    return {**dataclasses.asdict(source), "install": source.install, "options": options}
