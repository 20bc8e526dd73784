"""Make the corpus: the files that recipes read, then a dataset of each recipe. `make corpus` runs this.

    python -m recipes.make_corpus [--small] [RECIPE ...]

Each recipe is a configuration file of `gato-data convert`, so that one of them alone is also made by
`gato-data convert --config recipes/babyai.toml`. The same command goes on where it was stopped. With --small, each
source plays a tenth of its episodes and the datasets are in corpus-small/.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from recipes import inputs

RECIPES = Path(__file__).parent
QUICKEST_FIRST = (
    "text", "questions", "fetch", "babyai", "box2d", "box2d_disturbed", "classic_control", "classic_control_disturbed",
    "sokoban", "procgen", "dm_control", "dm_control_starts", "meta_world", "meta_world_relative", "meta_world_told",
    "atari",
)  # fmt: skip
OF_A_MODEL = ("own_states",)  # made if it is asked for, because it needs the run that plays
SECONDS = "seconds.json"  # {recipe: seconds}, beside the datasets


def read_recipe(name: str, small: bool = False) -> dict[str, Any]:
    """Read a recipe: the options of `gato-data convert` by their long names; with `small`, those of a tenth of it."""
    path = RECIPES / f"{name}.toml"
    if not path.exists():
        raise SystemExit(f"there is no recipe {name!r}; recipes: {', '.join((*QUICKEST_FIRST, *OF_A_MODEL))}")
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    if small:
        recipe["out"] = recipe["out"].replace("corpus/", "corpus-small/", 1)
        recipe["sources"] = [_tenth(source) for source in recipe["sources"]]
        if not any("episodes=" in source for source in recipe["sources"]):
            recipe["limit"] = 4000
    return recipe


def _tenth(source: str) -> str:
    """Divide the number of episodes by ten.

    >>> _tenth("rollouts:CartPole-v1?episodes=300&seed=5"), _tenth("text:a.txt")
    ('rollouts:CartPole-v1?episodes=30&seed=5', 'text:a.txt')
    """
    return re.sub(r"\bepisodes=(\d+)", lambda found: f"episodes={max(1, int(found[1]) // 10)}", source)


def make(name: str, small: bool, workers: int) -> int:
    """Convert one recipe and note the seconds that it took. Returns the command's exit code."""
    recipe = read_recipe(name, small)
    out, config = Path(recipe["out"]), RECIPES / f"{name}.toml"
    corpus = out.parents[1]
    if small:
        corpus.mkdir(parents=True, exist_ok=True)
        config = corpus / f"{name}.toml"
        config.write_text(tomli_w.dumps(recipe), encoding="utf-8")
    began, there = time.monotonic(), out.exists()
    words = ["--config", str(config), "--workers", str(workers)]
    code = subprocess.run([sys.executable, "-m", "pipelines", "convert", *words], check=False).returncode
    if code == 0 and not there:
        path = corpus / SECONDS
        seconds = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**seconds, name: round(time.monotonic() - began)}, indent=1) + "\n")
    return code


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.make_corpus", description=__doc__)
    parser.add_argument(
        "recipes",
        nargs="*",
        metavar="RECIPE",
        help=f"of {', '.join(QUICKEST_FIRST)} (default: all of these), {', '.join(OF_A_MODEL)}",
    )
    parser.add_argument("--small", action="store_true", help="a tenth of the episodes, in corpus-small/")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    arguments = parser.parse_intermixed_args()
    inputs.main(Path("corpus/inputs"))
    failed = [name for name in arguments.recipes or QUICKEST_FIRST if make(name, arguments.small, arguments.workers)]
    if failed:
        print(f"not whole: {', '.join(failed)}; the same command goes on with them", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
