"""Carry over: the finished partitions of a dataset become partitions of a larger plan, as files, without being read."""

import gzip
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gato_tokenize.dataset import Dataset
from gato_tokenize.durable import durable_file, sync_folder
from gato_tokenize.tfrecord import index_path
from pipelines.plan import Plan
from pipelines.write_partition import done_path, episodes_path, json_line, read_done, write_done


def carry_over(dataset: Dataset, old: Plan, plan: Plan, folder: Path) -> None:
    """Put every partition of the old plan into the work folder of the new one, as if it had been written there.

    Nothing is done twice. Raises ValueError where the old dataset is damaged.
    """
    with gzip.open(dataset.path / "episodes.jsonl.gz", "rt", encoding="utf-8", newline="\n") as file:
        lines = itertools.groupby(map(json.loads, file), lambda line: _shard_number(line["shard"]))
        number, group = next(lines, (-1, iter(())))
        for index in range(len(old.partitions)):
            mine = group if number == index else iter(())
            if read_done(folder, plan, index) is None:
                _carry(dataset, old, plan, folder, index, mine)
            if number == index:
                number, group = next(lines, (-1, iter(())))


def _shard_number(name: str) -> int:
    return int(re.findall(r"-(\d+)-of-\d+$", name)[0])


def _carry(dataset: Dataset, old: Plan, plan: Plan, folder: Path, index: int, lines: Iterator[dict[str, Any]]) -> None:
    done = json.loads(done_path(dataset.path, index).read_text())
    for split, shard in done["shards"].items():
        before, after = dataset.path / old.shard(split, index), folder / plan.shard(split, index)
        index_path(after).parent.mkdir(exist_ok=True)
        if shard["records"] or before.exists():
            if before.stat().st_size != shard["bytes"]:
                raise ValueError(f"{before} is damaged: see gato-data verify")
            link(before, after)
            link(index_path(before), index_path(after))
        else:  # a split without any record is left out when a dataset is published
            for path in (after, index_path(after)):
                path.write_bytes(b"")
        shard["file"] = after.name
    with durable_file(episodes_path(folder, index)) as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        for line in lines:
            split = next(name for name, shard in done["shards"].items() if line["shard"] == old.shard(name, index))
            file.write(json_line({**line, "shard": plan.shard(split, index)}))
    for place in (folder, folder / "index"):
        sync_folder(place)
    read = done["written"] + sum(done["filtered"].values())  # what was rejected is another partition's work now
    write_done(folder, index, {**done, "plan_sha256": plan.sha256, "read": read, "rejected": {}, "rest_lost": None})


def link(before: Path, after: Path) -> None:
    """Make `after` the same file as `before`; a copy where no hard link can be made."""
    after.unlink(missing_ok=True)
    try:
        os.link(before, after)
    except OSError:
        with open(before, "rb") as source, durable_file(after) as target:
            shutil.copyfileobj(source, target)
