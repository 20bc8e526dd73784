"""The splits that the names of files and folders say, and what those say besides."""

import os
import re

SHARD = re.compile(r"(?P<name>.*?)-?(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?:-[0-9a-f]+)?")
WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
NO_NAMES = (  # of files and folders: they say nothing
    "",
    "data",
    "default",
    "part",
    "file",
    "chunk",
    "shard",
    "dataset",
)


def split_of(path: str, root: str = "") -> str:
    """The split that the name of a file says, or that of a folder below `root` in which it lies; "" if none does.

    >>> split_of("set/kitchen-train-00000-of-00002.parquet"), split_of("set/expert-00000-of-00002-0a1b.parquet")
    ('train', 'expert')
    >>> split_of("set/valid/part-0.parquet", "set"), split_of("test/part-0.parquet", "test"), split_of("train_a.arrow")
    ('validation', '', 'train')
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    shard = SHARD.fullmatch(stem)
    name = shard["name"] if shard else stem
    if said := _word(name):
        return said
    if shard and name not in NO_NAMES and re.fullmatch(r"[A-Za-z0-9_]+", name):
        return name
    if not root:
        return ""
    folders = os.path.relpath(os.path.dirname(path), root).split(os.sep)
    return next((WORDS[part] for part in reversed(folders) if part in WORDS), "")


def _word(name: str) -> str:
    """The split whose word a name begins or ends with."""
    words = re.split(r"[-_.]", name)
    return WORDS.get(words[0], WORDS.get(words[-1], ""))


def name_of(path: str) -> str:
    """The last part of a path that says what the data are; "" if none does.

    >>> name_of("jat/atari-pong/data/train"), name_of("data")
    ('atari-pong', '')
    """
    parts = [part for part in os.path.normpath(path).split(os.sep) if part not in (*NO_NAMES, *WORDS, ".", "..")]
    return parts[-1] if parts else ""
