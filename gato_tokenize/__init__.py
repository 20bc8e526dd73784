"""Gato's tokens: text, images, discrete and continuous values, in the order and the ids of Reed et al. 2022."""

from gato_tokenize.episode import Episode, EpisodeMetadata
from gato_tokenize.spaces import spec_from_spaces, tuple_to_dict
from gato_tokenize.spec import ContinuousSpec, DiscreteSpec, EpisodeSpec, ImageSpec, TextSpec
from gato_tokenize.version import __version__
from gato_tokenize.vocabulary import Kind, Vocabulary

__all__ = [
    "Vocabulary",
    "Kind",
    "TextSpec",
    "ImageSpec",
    "DiscreteSpec",
    "ContinuousSpec",
    "EpisodeSpec",
    "spec_from_spaces",
    "tuple_to_dict",
    "Episode",
    "EpisodeMetadata",
    "__version__",
]
