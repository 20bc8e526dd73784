"""A policy as a SavedModel that acts: plain TensorFlow loads it, in C++ or another language too, without this package.

    loaded = tf.saved_model.load(folder)
    loaded.reset(rows, seeds)                                   int32[r] each: start these rows anew
    ids = loaded.act(tokens, local_positions, lengths, patches, patch_index, patch_intervals)   int32[rows, A]

The arguments are what `gato_model.acting.chunk.batch` makes of an observation's tokens: observation, then separator.
`policy.json` beside it says the rest: the task's spec, the vocabulary, the legal ids of each action token.
"""

import json
import os
from pathlib import Path

import tensorflow as tf

from gato_model.acting.policy import GatoPolicy

POLICY = "policy.json"


def export(policy: GatoPolicy, folder: "str | os.PathLike[str]") -> None:
    """Write a policy as it stands behind its prompt: as many rows, the same temperature, context and prompt.

    The functions are signatures, too (`reset`, `act`, `read`, for observations that are longer than a chunk).

    Raises ValueError for context="window", which computes anew from what Python keeps.
    """
    check_exportable(policy.context)
    policy.reset()
    actor, path = policy.actor, Path(folder)
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
    (path / POLICY).write_text(json.dumps(content, indent=1) + "\n")


def check_exportable(context: str) -> None:
    if context != "memory":
        raise ValueError(
            f"context={context!r} cannot be exported: it needs the tokens that Python keeps; take 'memory'"
        )
