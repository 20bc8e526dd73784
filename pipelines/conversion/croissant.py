"""croissant.json: a dataset described in the format Croissant 1.1 of MLCommons, by which catalogues find it."""

from collections.abc import Mapping
from typing import Any

from gato_tokenize.storage.episode_list import COLUMNS, EPISODES
from pipelines.conversion.card import Card

_CONTEXT = {  # the one that the format prescribes
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_DESCRIPTIONS = {  # of the columns of the episode list
    "shard": "file that holds the record",
    "record": "number of the record in its shard, from 0",
    "offset": "byte at which the record starts in its shard",
    "bytes": "length of the record with its framing",
    "tokens": "number of tokens of the record",
    "steps": "number of timesteps of the record",
    "episode_id": "name of the episode, which is the same in every conversion",
    "task": "task, whose spec tokenizer/spec.json has",
    "agent_id": "policy that acted",
    "source_uri": "file, archive member or environment that the episode came from",
    "source_index": "line, member or episode number there",
    "segment_index": "which segment of the episode the record is, from 0",
    "num_segments": "how many there are",
    "success": "1 or 0; -1 if unknown",
    "content_hash": "sha256 of the episode's tokens and pixels",
    "return": "undiscounted sum of rewards; null if unknown",
}
_FLOATS, _TEXTS = {"return"}, {"shard", "episode_id", "task", "agent_id", "source_uri", "content_hash"}


def croissant_json(manifest: Mapping[str, Any], card: Card, description: str, episodes_sha256: str) -> dict[str, Any]:
    """Return the content of croissant.json: the shards and the episode list with their hashes, and the columns of the
    list, by which a reader of the format loads it. description: used if the card has none.
    """
    shards = [shard for split in manifest["splits"].values() for shard in split["shards"]]
    files = [_file(EPISODES, "application/jsonlines", episodes_sha256)]
    files += [
        _file(shard["file"], "application/x-tfrecord", shard["sha256"], contentSize=f"{shard['bytes']} B")
        for shard in shards
    ]
    known = {
        "url": card.url,
        "license": card.licence,
        "citeAs": card.citation,
        "creator": [{"@type": "sc:Person", "name": name} for name in card.creators],
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": card.name or manifest["dataset"],
        "description": card.description or description,
        "version": manifest["version"],
        **{key: value for key, value in known.items() if value},
        "distribution": files,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "episodes",
                "name": "episodes",
                "description": "A line for each record, in the order of the shards. The records themselves are"
                " tf.train.Examples, whose features features.json lists.",
                "field": [_split_field(), *map(_field, COLUMNS)],
            }
        ],
    }


def _file(name: str, encoding: str, sha256: str, **more: Any) -> dict[str, Any]:
    named = {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name}
    return {**named, "encodingFormat": encoding, "sha256": sha256, **more}


def _field(column: str) -> dict[str, Any]:
    kind = "sc:Float" if column in _FLOATS else "sc:Text" if column in _TEXTS else "sc:Integer"
    source = {"fileObject": {"@id": EPISODES}, "extract": {"column": column}}
    named = {"@type": "cr:Field", "@id": f"episodes/{column}", "name": column}
    return {**named, "description": _DESCRIPTIONS[column], "dataType": kind, "source": source}


def _split_field() -> dict[str, Any]:
    """Return the field of the split, which is part of the shard's name."""
    source = {**_field("shard")["source"], "transform": {"regex": "^[^-]*-(.*)\\.tfrecord-"}}
    named = {"@id": "episodes/split", "name": "split", "description": "split that the record belongs to"}
    return {**_field("shard"), **named, "source": source}
