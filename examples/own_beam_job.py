"""The building blocks in a Beam job of your own: read, filter, tokenize, write shards, publish; then verify and train.

python -m examples.own_beam_job 'text:docs/*.md?by=line' FOLDER/own/1.0.0
"""

import sys
from pathlib import Path

import apache_beam as beam

from gato_tokenize import Episode
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.beam_steps import REJECTS, PublishDataset, ReadEpisodes, TokenizeEpisodes, WriteShards
from pipelines.inspection.verify import verify
from pipelines.sources import open_source


def long_enough(episode: Episode) -> bool:
    """A filter of your own: here, documents of 20 characters or more."""
    return len(episode.fields["observation/text"][0]) >= 20


def run(source: str, folder: Path, shards: int = 2, max_rejects: str = "0") -> None:
    """Make the dataset `folder`, .../NAME/VERSION, and verify it."""
    name = folder.parent.name
    tokenizer = DatasetTokenizer.for_specs(open_source(source).specs())
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | "Read" >> ReadEpisodes(source)
        kept = read.episodes | "Long enough" >> beam.Filter(long_enough)
        tokenized = kept | "Tokenize" >> TokenizeEpisodes(tokenizer, name)
        written = tokenized.records | "Write" >> WriteShards(str(folder), name, "train", shards)
        rejects = (read[REJECTS], tokenized[REJECTS]) | "Rejects" >> beam.Flatten()
        _ = (written, rejects) | "Publish" >> PublishDataset(str(folder), tokenizer, max_rejects=max_rejects)
    faults = list(verify(folder, deep=True))
    assert not faults, faults


def train_step(folder: Path) -> float:
    """One step of a very small model on the dataset; returns the loss before it."""
    import keras

    from gato_model import Gato, GatoConfig, batches

    reader = batches(folder, batch_size=2, sequence_length=64)
    model = Gato(GatoConfig(1, 2, 32, 16, 64, sequence_length=64, patch_channels=32))
    model.compile(keras.optimizers.AdamW(1e-3))
    history = model.fit(reader.dataset(), steps_per_epoch=1, shuffle=False, verbose=0)
    return float(history.history["loss"][0])


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
    print(f"{sys.argv[2]}: sound, and a model's first loss is {train_step(Path(sys.argv[2])):.2f}")
