"""Episodes and documents to records: this package against TFDS and plain TensorFlow, one process, in turns, medians.

    python -m benchmarks.bench_records

It needs tensorflow-datasets. An episode is 500 timesteps of 17 observed numbers and 6 actions; a document has about 23
tokens. Three comparisons:

    bytes    arrays of one episode -> the bytes of its record. Ours: checked, tokenized, hashed. TFDS: its features
             encode the values and its ExampleSerializer writes them
    shards   200 episodes -> files, with their index or metadata. Ours: `write_records`. TFDS: a
             GeneratorBasedBuilder, `download_and_prepare`
    documents  lines of a .jsonl -> a shard. Ours: `write_partition`, with ids, checks, statistics, index and the list
             of episodes. Plain: json, sentencepiece, tf.train.Example (tokens and id), TFRecordWriter. The time of
             sentencepiece alone is taken off both

TFDS gets them in two ways: "steps" is the layout of RLDS, which TFDS documents and its robot datasets use (a nested
dataset of timesteps: observation, action, reward, discount, is_first, is_last, is_terminal); "arrays" is the cheapest
way that TFDS has: two features of shape [None, 17] and [None, 6], no timesteps in the file. Times are CPU seconds.
"""

import contextlib
import io
import json
import os
import pydoc_data.topics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from benchmarks.side_by_side import in_turns
from gato_tokenize import (
    ContinuousSpec,
    Episode,
    EpisodeMetadata,
    EpisodeSpec,
    EpisodeTokenizer,
    Record,
    TextTokenizer,
    write_records,
)
from gato_tokenize.storage.segments import segments
from pipelines.conversion.plan import make_plan
from pipelines.conversion.work_folder import WorkFolder
from pipelines.conversion.write_partition import write_partition

STEPS, OBSERVED, ACTIONS, EPISODES, DOCUMENTS = 500, 17, 6, 200, 5_000
PLAIN = "plain.tfrecord"
SPEC = EpisodeSpec({"proprio": ContinuousSpec(OBSERVED)}, ContinuousSpec(ACTIONS))
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]
_numbers = {
    "observation": tfds.features.Tensor(shape=(OBSERVED,), dtype=np.float32),
    "action": tfds.features.Tensor(shape=(ACTIONS,), dtype=np.float32),
}
_flags = {
    "reward": np.float32,
    "discount": np.float32,
    "is_first": np.bool_,
    "is_last": np.bool_,
    "is_terminal": np.bool_,
}
FEATURES = {
    "steps": tfds.features.FeaturesDict({"steps": tfds.features.Dataset({**_numbers, **_flags})}),
    "arrays": tfds.features.FeaturesDict(
        {
            "observation": tfds.features.Tensor(shape=(None, OBSERVED), dtype=np.float32),
            "action": tfds.features.Tensor(shape=(None, ACTIONS), dtype=np.float32),
        }
    ),
}


def main() -> None:
    tfds.disable_progress_bar()
    values = [arrays(seed) for seed in range(EPISODES)]
    ways: dict[str, Callable[[], Any]] = {
        "ours": lambda: [record.to_bytes() for record in records(*values[0], "0")],
        "TFDS, steps": lambda: serialized("steps", *values[0]),
        "TFDS, arrays": lambda: serialized("arrays", *values[0]),
    }
    print_table("bytes", in_turns(ways, 15, 4, time.process_time), STEPS)
    print()
    with tempfile.TemporaryDirectory() as folder:
        print_table("shards", in_turns(shard_ways(values, Path(folder)), 3, 1, time.process_time), STEPS * EPISODES)
        print()
        with contextlib.chdir(folder):  # an id is the path and the number of a line
            print_documents(Path())


def arrays(seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    observed = generator.normal(0, 1, (STEPS, OBSERVED)).astype(np.float32)
    return observed, generator.uniform(-1, 1, (STEPS, ACTIONS)).astype(np.float32)


TOKENIZER = EpisodeTokenizer(SPEC)


def records(observed: NDArray[np.float32], acted: NDArray[np.float32], name: str) -> Iterator[Record]:
    metadata = EpisodeMetadata(name, "bench", "numbers", source_uri="made here", return_=0.0, terminated=True)
    episode = Episode(SPEC, {"proprio": observed}, acted, metadata)
    return segments(Record(TOKENIZER.encode(episode), metadata))


def example(way: str, observed: NDArray[np.float32], acted: NDArray[np.float32]) -> dict[str, Any]:
    """Return the values as a generator of TFDS examples gives them."""
    if way == "arrays":
        return {"observation": observed, "action": acted}
    last = len(observed) - 1
    ends = [{"is_first": i == 0, "is_last": i == last, "is_terminal": i == last} for i in range(len(observed))]
    pairs = zip(observed, acted, ends, strict=True)
    return {"steps": [{"observation": o, "action": a, "reward": 0.0, "discount": 1.0, **end} for o, a, end in pairs]}


SERIALIZERS = {way: ExampleSerializer(features.get_serialized_info()) for way, features in FEATURES.items()}


def serialized(way: str, observed: NDArray[np.float32], acted: NDArray[np.float32]) -> bytes:
    encoded = FEATURES[way].encode_example(example(way, observed, acted))
    data: bytes = SERIALIZERS[way].serialize_example(encoded)
    return data


class Numbers(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """The episodes as a TFDS dataset, in the way that its `BuilderConfig` names."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=way) for way in FEATURES]
    pkg_dir_path = Path(__file__).parent
    values: list[Arrays] = []

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(builder=self, features=FEATURES[self.builder_config.name])

    def _split_generators(self, manager: Any) -> Any:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[Any]:
        for number, (observed, acted) in enumerate(self.values):
            yield number, example(self.builder_config.name, observed, acted)


def shard_ways(values: list[Arrays], folder: Path) -> dict[str, Callable[[], Any]]:
    Numbers.values = values

    def ours() -> None:
        every = (record for number, pair in enumerate(values) for record in records(*pair, str(number)))
        write_records(folder / "numbers-train.tfrecord-00000-of-00001", every)

    def theirs(way: str) -> None:
        fresh = tempfile.TemporaryDirectory(dir=folder)  # it does nothing if the dataset exists
        with fresh as place, contextlib.redirect_stdout(io.StringIO()):
            Numbers(data_dir=place, config=way).download_and_prepare()

    return {"ours": ours, "TFDS, steps": lambda: theirs("steps"), "TFDS, arrays": lambda: theirs("arrays")}


def document_ways(folder: Path) -> dict[str, Callable[[], Any]]:
    words = " ".join(pydoc_data.topics.topics.values()).split()
    texts = [" ".join(words[at : at + 14])[:94] for at in range(DOCUMENTS)]
    lines = folder / "tiny.jsonl"
    lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    plan, tokenizer = make_plan([f"text:{lines}"], folder / "tiny/1.0.0")
    work = WorkFolder.of(plan, folder / "tiny/1.0.0")
    work.path.mkdir(parents=True)
    work.save(tokenizer)
    bare = sentencepiece.SentencePieceProcessor(model_proto=TextTokenizer().model_bytes)

    def ours() -> None:
        work.done_path(0).unlink(missing_ok=True)
        write_partition(work, 0)

    def plain() -> None:
        with tf.io.TFRecordWriter(str(folder / PLAIN)) as writer, open(lines) as file:
            for number, line in enumerate(file):
                ids = bare.encode(json.loads(line)["text"], out_type=int)
                name = tf.train.BytesList(value=[f"{lines}#{number}".encode()])
                tokens = tf.train.Feature(int64_list=tf.train.Int64List(value=ids))
                features = {"id": tf.train.Feature(bytes_list=name), "tokens": tokens}
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())

    return {"sentencepiece": lambda: [bare.encode(text, out_type=int) for text in texts], "ours": ours, "plain": plain}


def print_documents(folder: Path) -> None:
    seconds = in_turns(document_ways(folder), 5, 1, time.process_time)
    (shard,) = folder.glob("tiny/.1.0.0*/*-train*")
    sizes = {"ours": shard.stat().st_size, "plain": (folder / PLAIN).stat().st_size}
    around = {name: (seconds[name] - seconds["sentencepiece"]) / DOCUMENTS * 1e6 for name in sizes}
    print(f"{'documents':<14}{'us around':>14}{'bytes':>10}{'time, size to ours':>22}")
    for name, size in sizes.items():
        ratios = f"{around[name] / around['ours']:>12.2f}x{size / sizes['ours']:>8.2f}x"
        print(f"{name:<14}{around[name]:>14.1f}{size / DOCUMENTS:>10.1f}" + (ratios if name != "ours" else ""))


def print_table(title: str, seconds: dict[str, float], steps: int) -> None:
    print(f"{title:<14}{'timesteps/s':>14}{'ours is':>10}")
    for name, median in seconds.items():
        print(f"{name:<14}{steps / median:>14,.0f}" + (f"{median / seconds['ours']:>9.1f}x" if name != "ours" else ""))


if __name__ == "__main__":
    main()
