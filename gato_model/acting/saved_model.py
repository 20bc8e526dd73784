"""save_policy: write a policy as a SavedModel that plain TensorFlow loads without this package, in C++ and others, too.

    loaded = tf.saved_model.load(folder)
    loaded.reset(rows, seeds)                                   int32[r] each: start new episodes there
    ids = loaded.act(tokens, local_positions, lengths, patches, patch_index, patch_intervals)   int32[rows, A]

`gato_model.acting.chunk.batch` makes these arguments from an observation's tokens, its separator included.
`policy.json` beside the model holds the task's spec, the vocabulary and the legal ids of each action token.
"""

import json
import os
from pathlib import Path

import tensorflow as tf

from gato_model.acting.policy import GatoPolicy

POLICY = "policy.json"


def save_policy(policy: GatoPolicy, folder: "str | os.PathLike[str]") -> None:
    """Write a policy with its rows, temperature and prompt, ready for the first observation.

    `reset`, `act` and `read` (for observations that are longer than a chunk) are signatures as well as methods.

    Raises ValueError for a context other than "memory", which Python carries out, and for a folder whose
    name TensorFlow would take for a pattern.
    """
    actor, path = policy.actor, Path(folder)
    check_saveable(policy.context, path)
    policy.reset()
    signatures = {name: getattr(actor, name) for name in ("reset", "act", "read")}
    tf.saved_model.save(
        actor, str(path), signatures={name: f.get_concrete_function() for name, f in signatures.items()}
    )
    tokenizer = policy.tokenizer
    content = {
        "rows": policy.rows,
        "longest_chunk": actor.longest,
        "context": policy.config.sequence_length,
        "action_ranges": tokenizer.action_ranges.tolist(),
        "spec": json.loads(tokenizer.spec.to_json()),
        "vocabulary": json.loads(tokenizer.vocabulary.to_json()),
        "text_model_sha256": tokenizer.text.sha256 if tokenizer.text else None,
    }
    (path / POLICY).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def check_saveable(context: str, folder: Path) -> None:
    """Raise ValueError for a policy's `context` that cannot be saved, or a folder that could not be loaded."""
    if context != "memory":
        raise ValueError(f"context={context!r} cannot be saved: Python carries it out, not the graph; take 'memory'")
    if set("[\\") & set(str(folder)):
        raise ValueError(
            f"{folder}: TensorFlow loads no model from a path with a [ or a backslash; choose another name"
        )
