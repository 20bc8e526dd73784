"""Gato's tokens: text, images, discrete and continuous values, in the order and the ids of Reed et al. 2022.

The names below are imported when first used: the help of a command line imports none of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gato_tokenize.version import __version__ as __version__

if TYPE_CHECKING:
    from gato_tokenize.episode import Episode as Episode
    from gato_tokenize.episode import EpisodeMetadata as EpisodeMetadata
    from gato_tokenize.field_spec import ContinuousSpec as ContinuousSpec
    from gato_tokenize.field_spec import DiscreteSpec as DiscreteSpec
    from gato_tokenize.field_spec import ImageSpec as ImageSpec
    from gato_tokenize.field_spec import TextSpec as TextSpec
    from gato_tokenize.modalities.continuous import ContinuousTokenizer as ContinuousTokenizer
    from gato_tokenize.modalities.continuous import inverse_mu_law as inverse_mu_law
    from gato_tokenize.modalities.continuous import mu_law as mu_law
    from gato_tokenize.modalities.discrete import DiscreteTokenizer as DiscreteTokenizer
    from gato_tokenize.modalities.image import ImageTokenizer as ImageTokenizer
    from gato_tokenize.modalities.image import Patches as Patches
    from gato_tokenize.modalities.text import TextTokenizer as TextTokenizer
    from gato_tokenize.modalities.text_training import train_text_model as train_text_model
    from gato_tokenize.roles import Roles as Roles
    from gato_tokenize.sequence import TokenSequence as TokenSequence
    from gato_tokenize.spaces import read_spaces as read_spaces
    from gato_tokenize.spaces import spec_from_spaces as spec_from_spaces
    from gato_tokenize.spec import EpisodeSpec as EpisodeSpec
    from gato_tokenize.steps import tuple_to_dict as tuple_to_dict
    from gato_tokenize.storage.dataset import Dataset as Dataset
    from gato_tokenize.storage.records import Record as Record
    from gato_tokenize.storage.shards import read_record as read_record
    from gato_tokenize.storage.shards import read_records as read_records
    from gato_tokenize.storage.shards import write_records as write_records
    from gato_tokenize.storage.tfrecord import CorruptRecordError as CorruptRecordError
    from gato_tokenize.storage.tfrecord import Damage as Damage
    from gato_tokenize.tokenizer import EpisodeTokenizer as EpisodeTokenizer
    from gato_tokenize.view import show as show
    from gato_tokenize.vocabulary import Kind as Kind
    from gato_tokenize.vocabulary import Vocabulary as Vocabulary

_HOMES = {  # in the order in which data meets them
    "TextSpec": "field_spec",
    "ImageSpec": "field_spec",
    "DiscreteSpec": "field_spec",
    "ContinuousSpec": "field_spec",
    "EpisodeSpec": "spec",
    "spec_from_spaces": "spaces",
    "read_spaces": "spaces",
    "Roles": "roles",
    "tuple_to_dict": "steps",
    "Episode": "episode",
    "EpisodeMetadata": "episode",
    "Vocabulary": "vocabulary",
    "Kind": "vocabulary",
    "TextTokenizer": "modalities.text",
    "train_text_model": "modalities.text_training",
    "ImageTokenizer": "modalities.image",
    "Patches": "modalities.image",
    "DiscreteTokenizer": "modalities.discrete",
    "ContinuousTokenizer": "modalities.continuous",
    "mu_law": "modalities.continuous",
    "inverse_mu_law": "modalities.continuous",
    "EpisodeTokenizer": "tokenizer",
    "TokenSequence": "sequence",
    "show": "view",
    "Record": "storage.records",
    "write_records": "storage.shards",
    "read_records": "storage.shards",
    "read_record": "storage.shards",
    "CorruptRecordError": "storage.tfrecord",
    "Damage": "storage.tfrecord",
    "Dataset": "storage.dataset",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
