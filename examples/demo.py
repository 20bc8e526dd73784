"""`make demo` runs this: real episodes, text and pictures -> checked TFRecord episodes -> plain tf.data.

    python -m examples.demo FOLDER

Each step is a command that you could type yourself; it is printed before it runs.
"""

import json
import os
import pydoc_data.topics
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

VQA_PAIRS = 300


def write_documents(folder: Path) -> str:
    """Write CPython's own documentation, which every interpreter has, one document a topic; return the source."""
    path = folder / "cpython-topics.jsonl"
    topics = sorted(pydoc_data.topics.topics.items())
    path.write_text("".join(json.dumps({"text": text, "id": name}) + "\n" for name, text in topics), encoding="utf-8")
    return f"text:{path}?task=cpython-docs&id=id"


def write_questions(folder: Path) -> str:
    """Write images with question and answer from the PyPI package easy-vqa; return the source."""
    import easy_vqa

    images, pairs = folder / "easy-vqa", []
    images.mkdir(exist_ok=True)
    paths = easy_vqa.get_train_image_paths()
    for question, answer, image in list(zip(*easy_vqa.get_train_questions(), strict=True))[:VQA_PAIRS]:
        shutil.copyfile(paths[image], images / f"{image}.png")
        pairs.append({"image": f"easy-vqa/{image}.png", "question": question, "answer": answer})
    path = folder / "easy-vqa.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    return f"image-text:{path}"


def step(*words: str) -> None:
    """Print a command and run it; if it fails, stop the demo with its exit code."""
    print(f"\n$ {shlex.join(['gato-data', *words])}", flush=True)
    code = subprocess.run([sys.executable, "-m", "pipelines", *words], check=False).returncode
    if code:
        sys.exit(code)


def read_with_tf_data(dataset: Path) -> None:
    """Read the records as a training process could: with tf.data alone, without this project's code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # otherwise it reports missing GPUs
    import tensorflow as tf

    features = {
        "tokens": tf.io.RaggedFeature(tf.int64),
        "episode_metadata/task": tf.io.FixedLenFeature([], tf.string, default_value="text"),
        "episode_metadata/return": tf.io.FixedLenFeature([], tf.float32, default_value=float("nan")),
    }
    shards = tf.data.Dataset.list_files(str(dataset / "*-train.tfrecord-*"), shuffle=False)
    records = shards.interleave(tf.data.TFRecordDataset).map(lambda data: tf.io.parse_single_example(data, features))
    seen: dict[str, int] = {}
    tokens = 0
    for record in records.as_numpy_iterator():
        task = record["episode_metadata/task"].decode()
        seen[task] = seen.get(task, 0) + 1
        tokens += len(record["tokens"])
    print("\nread with plain tf.data:", tokens, "tokens;", ", ".join(f"{n} x {task}" for task, n in seen.items()))


def main(folder: Path) -> None:
    sources = folder / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    dataset = folder / "gato_demo" / "1.0.0"
    shutil.rmtree(dataset.parent, ignore_errors=True)  # made by an earlier demo, perhaps of another release
    step(
        "convert",
        "rollouts:BabyAI-GoToLocal-v0?episodes=120&seed=0&image=rgb",
        "rollouts:LunarLander-v3?continuous=true&episodes=20",
        "rollouts:Meta-World/MT1?env_name=reach-v3&episodes=3",
        "rollouts:Meta-World/MT1?env_name=push-v3&episodes=3",
        write_documents(sources),
        write_questions(sources),
        *("--validation-fraction", "0.1", "--workers", "2", "--out", str(dataset)),
    )
    step("verify", str(dataset))
    read_with_tf_data(dataset)
    step("inspect", str(dataset))
    step("report", str(dataset), "--out", str(folder / "report.html"))
    step("inspect", str(dataset), "--episode", "0", "--steps", "1", "--frames", str(folder / "episode-0.gif"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-data"))
