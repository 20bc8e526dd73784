"""Play one episode a domain and keep eight of its frames as a strip, for the page of `recipes.results`.

    python -m recipes.filmstrips RUN results/scores.jsonl

The task is the one in the middle of the domain's scores, the seed the first that was scored, and the model acts as it
did then, so that nobody has chosen what is shown. Writes a JPEG a domain to filmstrips/ beside the scores, and
filmstrips.json, which says what they show. It plays every domain anew; `make results` runs it.
"""

import argparse
import base64
import dataclasses
import html
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gato_model.acting.policy import GatoPolicy
from gato_model.acting.pretrained import load_model
from gato_model.shipped import model_path
from gato_tokenize.output import counted
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.sources.rollouts.rollout import Rollout
from recipes.make_corpus import QUICKEST_FIRST
from recipes.play.stage import Stage
from recipes.scores import read_lines, rollouts, score

FRAMES = 8
HEIGHT, QUALITY = 112, 72  # of a strip: pixels, and of its JPEG
FILMSTRIPS = "filmstrips.json"
_ABOUT = (
    f"Up to {FRAMES} frames of one episode a domain: of the task in the middle of its scores, on the first seed that"
    " was scored, whatever came of it."
)


@dataclasses.dataclass(frozen=True)
class Filmstrip:
    """An episode of which a strip shows frames, the first and the last among them."""

    domain: str
    task: str
    seed: int
    steps: int
    return_: float
    success: bool | None
    file: str  # beside filmstrips.json

    @property
    def caption(self) -> str:
        """
        >>> Filmstrip("babyai", "BabyAI-GoToObj-v0", 1_000_000, 9, 0.9, True, "").caption
        'BabyAI-GoToObj-v0, seed 1,000,000: 9 steps, return 0.9, success'
        """
        end = "" if self.success is None else ", success" if self.success else ", no success"
        return f"{self.task}, seed {self.seed:,}: {counted(self.steps, 'step')}, return {self.return_:.3g}{end}"


def read_filmstrips(path: Path) -> list[Filmstrip]:
    """Read filmstrips.json; there are none if it is not there."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [Filmstrip(**one) for one in found]


def strips_as_text(strips: Sequence[Filmstrip], folder: str) -> str:
    """The strips as Markdown, "" if there are none. folder: the path of their filmstrips.json's, from the page."""
    shown = [
        f"{one.caption}\n\n![{one.task}, from left to right]({Path(folder, one.file).as_posix()})" for one in strips
    ]
    return "\n\n".join([_ABOUT, *shown]) if shown else ""


def strips_as_html(strips: Sequence[Filmstrip], folder: Path) -> str:
    """The strips as HTML that holds their bytes. folder: where their filmstrips.json is."""
    figures = [
        f'<figure><img alt="{html.escape(one.task)}, from left to right" src="data:image/jpeg;base64,'
        f'{base64.b64encode((folder / one.file).read_bytes()).decode()}">'
        f"<figcaption>{html.escape(one.caption)}</figcaption></figure>"
        for one in strips
    ]
    return f"<p>{_ABOUT}</p>{''.join(figures)}"


def middle(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Find for each recipe the line of the task with the middle score; of two in the middle, the lower."""
    known = [(line, float(np.mean(found[0]))) for line in lines if (found := score(line)) is not None]
    recipes = dict.fromkeys(line["recipe"] for line, _ in known)
    ordered = sorted(known, key=lambda one: one[1])
    of_each = [[line for line, _ in ordered if line["recipe"] == recipe] for recipe in recipes]
    return [tasks[(len(tasks) - 1) // 2] for tasks in of_each]


def play(policy: GatoPolicy, rollout: Rollout, seed: int) -> tuple[list[Image.Image], float, bool | None]:
    """Play an episode of the model: the frames before each step and after the last, the return, the success."""
    policy.reset(seeds=[seed])
    frames = []
    with Stage(rollout, seed) as stage:
        frames.append(_small(stage.view.frame))
        while not stage.view.over:
            stage.play(policy.act(stage.view.observation))
            frames.append(_small(stage.view.frame))
        return frames, stage.view.return_, stage.view.success


def _small(frame: Any) -> Image.Image:
    picture = Image.fromarray(frame)
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def strip(frames: Sequence[Image.Image]) -> Image.Image:
    """Join FRAMES of the frames, at equal distances, the first and the last among them; fewer if there are fewer."""
    places = np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int).tolist()
    width = frames[0].width
    joined = Image.new("RGB", (len(places) * (width + 2) - 2, HEIGHT), "white")
    for i, place in enumerate(places):
        joined.paste(frames[place], (i * (width + 2), 0))
    return joined


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.filmstrips", description=__doc__)
    parser.add_argument("run", type=Path, help="a training run's folder, an export, or demo")
    parser.add_argument("scores", type=Path, help="the file that `recipes.scores` wrote")
    arguments = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every task that is compiled after the first
    lines = read_lines(arguments.scores)
    tokenizer = DatasetTokenizer.load(model_path(arguments.run))
    known = {rollout.recipe.task: rollout for _, rollout in rollouts(list(QUICKEST_FIRST))}
    folder = arguments.scores.parent
    (folder / "filmstrips").mkdir(exist_ok=True)
    made = []
    for line in middle(lines):
        task, seed, file = line["task"], line["seeds"][0], f"filmstrips/{line['recipe']}.jpg"
        model = load_model(arguments.run, line["acting"]["which"])
        acting = {name: value for name, value in line["acting"].items() if name not in ("rows", "which")}
        frames, return_, success = play(GatoPolicy(model, tokenizer.task(task), **acting), known[task], seed)
        strip(frames).save(folder / file, "JPEG", quality=QUALITY, optimize=True)
        made.append(Filmstrip(line["recipe"], task, seed, len(frames) - 1, round(return_, 6), success, file))
        print(made[-1].caption, flush=True)
    text = json.dumps([dataclasses.asdict(one) for one in made], indent=1)
    (folder / FILMSTRIPS).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
