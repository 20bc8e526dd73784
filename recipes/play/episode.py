"""An episode as the page shows it: a line of JSON for each timestep of the model and for each of its expert."""

import base64
import dataclasses
import io
import math
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gato_model.acting.decision import Choice, Decision
from gato_model.acting.policy import GatoPolicy
from gato_tokenize import ContinuousSpec, EpisodeSpec
from gato_tokenize.environments.recipe import Recipe
from pipelines.inspection.filmstrip import Run, runs
from pipelines.sources.rollouts.rollout import Rollout
from recipes.play.stage import Stage, View

MOST_BARS = 64  # of a distribution; a thousand bins are joined to so many
LARGEST = 320  # pixels, the longer side of a frame

NAMES = {  # {beginning of an environment's id: the names of its actions}
    "BabyAI-": ("left", "right", "forward", "pick up", "drop", "toggle", "done"),
    "CartPole": ("left", "right"),
    "MountainCar-": ("left", "coast", "right"),
    "Acrobot": ("-1", "0", "+1"),
    "LunarLander": ("coast", "left engine", "main engine", "right engine"),
    "Sokoban/": ("up", "down", "left", "right"),
    "ALE/Breakout": ("stay", "serve", "right", "left"),
    "ALE/Freeway": ("stay", "up", "down"),
}


def lines(policy: GatoPolicy, rollout: Rollout, seed: int) -> Iterator[dict[str, Any]]:
    """Play both episodes of a seed side by side, each to its end: a line for each timestep of each, as it is played.

    A line has what was seen, the return so far and, unless the episode is over, what was done then; or it tells what is
    being waited for.
    """
    rollout = dataclasses.replace(rollout, noise=0.0)
    names = action_names(rollout.recipe)
    policy.reset(seeds=[seed])
    yield {"told": "starts two simulators"}
    with ExitStack() as stack:
        model, expert = (stack.enter_context(Stage(rollout, seed)) for _ in range(2))
        yield {"told": "compiles the model, if this is the task's first episode"}
        playing = [_model_lines(policy, model, names), _expert_lines(expert, names)]
        while playing:
            for one in list(playing):
                line = next(one)
                yield line
                if line["over"]:
                    playing.remove(one)
    yield {"told": f"{rollout.recipe.task}, seed {seed}: both episodes, to their ends"}


def _model_lines(policy: GatoPolicy, stage: Stage, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    while not (view := stage.view).over:
        decision = policy.decide(view.observation)
        stage.play(decision.action)
        yield {
            **_seen("model", view),
            "action": shown_action(decision.action, names),
            **_decided(policy, decision, names),
        }
    yield _seen("model", view)


def _expert_lines(stage: Stage, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    while not (view := stage.view).over:
        action = stage.play_own()
        yield {**_seen("expert", view), "action": shown_action(action, names)}
    yield _seen("expert", view)


def _seen(who: str, view: View) -> dict[str, Any]:
    return {
        "who": who,
        "frame": data_uri(view.frame),
        "return": round(view.return_, 6),
        "over": view.over,
        "success": view.success,
    }


def _decided(policy: GatoPolicy, decision: Decision, names: tuple[str, ...]) -> dict[str, Any]:
    tokenizer = policy.tokenizer
    (step,) = runs(tokenizer, tokenizer.text, decision.tokens)
    done = {slot.path for slot in tokenizer.slots if slot.action}
    actions = [(run.path, token.value) for run in step if run.path in done for token in run.tokens]
    bounds = [ends for path in dict.fromkeys(path for path, _ in actions) for ends in _bounds(tokenizer.spec, path)]
    return {
        "runs": [_run(run, tokenizer.spec) for run in step],
        "choices": [
            {"path": path, "value": named(value, names), "ends": ends, **_bars(choice, names)}
            for (path, value), ends, choice in zip(actions, bounds, decision.choices, strict=True)
        ],
    }


def _bounds(spec: EpisodeSpec, path: str) -> list[Any]:
    """Return for each value of an action's field the two numbers between which its bins lie, None if it is discrete."""
    field = spec.fields[path]
    if not isinstance(field, ContinuousSpec):
        return [None] * math.prod(getattr(field, "shape", ()))
    ends = np.array([np.broadcast_to(end, field.shape).ravel() for end in field.bounds()])
    return list(ends.T.tolist())


def _run(run: Run, spec: EpisodeSpec) -> dict[str, Any]:
    shape: Any = getattr(spec.fields.get(run.path), "shape", None) or ()
    return {
        "columns": shape[-1] if len(shape) == 2 and not run.picture else None,  # a grid is shown as one
        "path": run.path,
        "kind": run.kind.name.lower().replace("_", " "),
        "picture": run.picture,
        "tokens": [[token.id, token.value, token.text] for token in run.tokens],
    }


def _bars(choice: Choice, names: tuple[str, ...]) -> dict[str, Any]:
    """Join neighbouring ids to at most MOST_BARS bars: their probabilities, and which of them has the chosen id."""
    count = len(choice.probabilities)
    of_bar = -(-count // MOST_BARS)
    sums = np.add.reduceat(choice.probabilities, np.arange(0, count, of_bar))
    return {
        "id": choice.id,
        "first": choice.first,
        "ids_of_bar": of_bar,
        "bars": [round(float(one), 4) for one in sums],
        "chosen": (choice.id - choice.first) // of_bar,
        "probability": float(choice.probabilities[choice.id - choice.first]),
        "names": list(names[:count]) if len(names) >= count else [],
    }


def action_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of a discrete action's numbers, () if they have none here."""
    if recipe.arguments().get("continuous"):
        return ()
    return next((names for beginning, names in NAMES.items() if recipe.name.startswith(beginning)), ())


def named(value: str, names: tuple[str, ...]) -> str:
    """
    >>> named("1", ("left", "right")), named("0.25", ())
    ('right', '0.25')
    """
    return names[int(value)] if value.isdigit() and int(value) < len(names) else value


def shown_action(action: Any, names: tuple[str, ...]) -> str:
    """
    >>> shown_action(np.array([0.25, -1 / 3]), ()), shown_action(1, ("left", "right"))
    ('0.25, -0.333', 'right')
    """
    return ", ".join(named(f"{one:.3g}", names) for one in np.ravel(action).tolist())


def data_uri(frame: NDArray[np.uint8]) -> str:
    """A frame as a JPEG in a data URI, its longer side at most LARGEST pixels."""
    picture = Image.fromarray(frame)
    picture.thumbnail((LARGEST, LARGEST))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
