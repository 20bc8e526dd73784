"""A SavedModel acts as the policy does, in a process that has TensorFlow alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
from toy_acting import CONFIG, demonstration, observation, toy_model, toy_tokenizer

from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.policy import GatoPolicy
from gato_model.acting.saved_model import save_policy

STEPS, ROWS = 5, 2
ELSEWHERE = """
import sys, numpy as np, tensorflow as tf
folder, inputs, out = sys.argv[1:]
loaded, chunks = tf.saved_model.load(folder), np.load(inputs)
names = ("tokens", "local_positions", "lengths", "patches", "patch_index", "patch_intervals")
loaded.reset(tf.constant([0, 1]), tf.constant([5, 6]))
plain = [loaded.act(*(tf.constant(chunks[f"{i}/{name}"]) for name in names)).numpy() for i in range(5)]
loaded.signatures["reset"](rows=tf.constant([0, 1]), seeds=tf.constant([5, 6]))
act = loaded.signatures["act"]
signed = [act(**{name: tf.constant(chunks[f"{i}/{name}"]) for name in names})["output_0"].numpy() for i in range(5)]
assert not any(name.split(".")[0] in ("gato_model", "gato_tokenize") for name in sys.modules)
np.savez(out, plain=plain, signed=signed)
"""


def test_another_process_does_the_same(tmp_path):
    policy = GatoPolicy(toy_model(), toy_tokenizer(), demonstration(2), rows=ROWS, temperature=2.0)
    policy.act_many([observation(0), observation(1)])  # forgotten: the saved one starts after the prompt
    save_policy(policy, tmp_path / "acting")
    policy.reset(seeds=[5, 6])
    inputs, actions = {}, []
    for i in range(STEPS):
        seen = [observation(10 * i + row) for row in range(ROWS)]
        actions.append([[int(action["key"]), int(action["mode"]) + 1] for action in policy.act_many(seen)])
        chunks = [Chunk.of_sequence(toy_tokenizer().encode_observation(one), CONFIG.quantization) for one in seen]
        inputs |= {f"{i}/{name}": array for name, array in batch(dict(enumerate(chunks)), ROWS).items()}
    np.savez(tmp_path / "inputs.npz", **inputs)
    words = [tmp_path / "acting", tmp_path / "inputs.npz", tmp_path / "out.npz"]
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / "out.npz")
    assert out["plain"].tolist() == actions
    assert out["signed"].tolist() == actions
    assert len({str(action) for step in actions for action in step}) > 1
    content = json.loads((tmp_path / "acting" / "policy.json").read_text())
    assert content["action_ranges"] == [[0, 5], [0, 3]]
    assert (content["rows"], content["context"]) == (ROWS, CONFIG.sequence_length)
    assert content["spec"] == json.loads(policy.tokenizer.spec.to_json())


def test_a_sliding_window_is_refused(tmp_path):
    policy = GatoPolicy(toy_model(), toy_tokenizer(), context="window")
    with pytest.raises(ValueError, match="context='window' cannot be saved"):
        save_policy(policy, tmp_path)
