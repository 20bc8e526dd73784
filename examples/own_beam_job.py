"""The building blocks in a Beam job of your own: read, filter, tokenize, write shards, keep the rejects.

python -m examples.own_beam_job 'text:docs/*.md?by=line' FOLDER
"""

import dataclasses
import json
import sys
from pathlib import Path

import apache_beam as beam

from gato_tokenize import Episode
from gato_tokenize.storage.dataset import DatasetTokenizer
from pipelines.beam_steps import REJECTS, ReadEpisodes, TokenizeEpisodes, WriteShards
from pipelines.sources import open_source


def long_enough(episode: Episode) -> bool:
    """A filter of your own: here, documents of 20 characters or more."""
    return len(episode.fields["observation/text"][0]) >= 20


def run(source: str, folder: Path, shards: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = DatasetTokenizer.for_specs(open_source(source).specs())
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | "Read" >> ReadEpisodes(source)
        kept = read.episodes | "Long enough" >> beam.Filter(long_enough)
        tokenized = kept | "Tokenize" >> TokenizeEpisodes(tokenizer, dataset="own")
        written = tokenized.records | "Write" >> WriteShards(str(folder), "own", "train", shards)
        _ = written | "As JSON" >> beam.Map(json.dumps) | "Summary" >> beam.io.WriteToText(str(folder / "shards.jsonl"))
        rejects = (read[REJECTS], tokenized[REJECTS]) | "Rejects" >> beam.Flatten()
        lines = rejects | "Lines" >> beam.Map(lambda reject: json.dumps(dataclasses.asdict(reject)))
        _ = lines | "Save" >> beam.io.WriteToText(str(folder / "rejects.jsonl"))
    tokenizer.save(folder)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
