"""Gato's tokens: text, images, discrete and continuous values, in the order and the ids of Reed et al. 2022."""

from gato_tokenize.episode import Episode, EpisodeMetadata
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.modalities.continuous import ContinuousTokenizer, inverse_mu_law, mu_law
from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.modalities.image import ImageTokenizer, Patches
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.modalities.text_training import train_text_model
from gato_tokenize.roles import Roles
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.spaces import read_spaces, spec_from_spaces, tuple_to_dict
from gato_tokenize.spec import EpisodeSpec
from gato_tokenize.storage.dataset import Dataset
from gato_tokenize.storage.records import Record
from gato_tokenize.storage.shards import read_record, read_records, write_records
from gato_tokenize.storage.tfrecord import CorruptRecordError, Damage
from gato_tokenize.tokenizer import EpisodeTokenizer
from gato_tokenize.version import __version__
from gato_tokenize.view import show
from gato_tokenize.vocabulary import Kind, Vocabulary

__all__ = [  # in the order in which data meets them
    "TextSpec",
    "ImageSpec",
    "DiscreteSpec",
    "ContinuousSpec",
    "EpisodeSpec",
    "spec_from_spaces",
    "read_spaces",
    "Roles",
    "tuple_to_dict",
    "Episode",
    "EpisodeMetadata",
    "Vocabulary",
    "Kind",
    "TextTokenizer",
    "train_text_model",
    "ImageTokenizer",
    "Patches",
    "DiscreteTokenizer",
    "ContinuousTokenizer",
    "mu_law",
    "inverse_mu_law",
    "EpisodeTokenizer",
    "TokenSequence",
    "show",
    "Record",
    "write_records",
    "read_records",
    "read_record",
    "CorruptRecordError",
    "Damage",
    "Dataset",
    "__version__",
]
