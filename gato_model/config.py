"""GatoConfig: the sizes of a model (Reed et al. 2022, appendix C.1)."""

import dataclasses
import json
import math

from gato_tokenize import Vocabulary
from gato_tokenize.defaults import LOCAL_POSITIONS

GROUPS = 32  # of group normalisation in the patch embedding (appendix C.2)
STEM = 7  # side of the patch embedding's first convolution, which has stride 2 and leaves a map of 8 x 8
MAP = 4  # side of the map after the first residual block, which has stride 2 as well


@dataclasses.dataclass(frozen=True)
class GatoConfig:
    """Every number that shapes a model.

    `tiny`, `small`, `baseline` and `large` are presets that take changes: `GatoConfig.small(sequence_length=512)`.

    >>> config = GatoConfig.small()
    >>> f"{config.parameter_count() / 1e6:.0f}M"
    '79M'
    >>> GatoConfig.from_json(config.to_json()) == config
    True

    Raises ValueError for a number out of range, or sizes that do not fit together.
    """

    num_layers: int
    num_heads: int
    width: int  # of the residual stream
    key_value_size: int  # of one head
    feed_forward_size: int  # gate and value together, half each
    sequence_length: int = 1024  # tokens of a training sequence, and that acting looks back on
    vocabulary_size: int = Vocabulary().size
    local_positions: int = LOCAL_POSITIONS  # rows for the tokens of a timestep; actions share one more
    quantization: int = 128  # rows, and columns, of patch positions
    patch_blocks: int = 1  # residual blocks in the patch embedding
    patch_channels: int = 64  # of their convolutions
    dropout: float = 0.0  # fine-tuning: 0.1 (appendix D)
    stochastic_depth: float = 0.1  # pretraining; fine-tuning: 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name} must be a positive int, not {value!r}")
            if field.type is float and not (isinstance(value, int | float) and 0 <= value < 1):
                raise ValueError(f"{field.name} is a probability in [0, 1), not {value!r}")
        if self.feed_forward_size % 2:
            raise ValueError(f"feed_forward_size {self.feed_forward_size} is odd: gate and value take half each")
        if self.width % 2:
            raise ValueError(f"width {self.width} is odd: half of it holds sines, half cosines of distances")
        if self.patch_channels % GROUPS:
            raise ValueError(f"patch_channels must be a multiple of the {GROUPS} groups, not {self.patch_channels}")

    @classmethod
    def tiny(cls, **changes: float) -> "GatoConfig":
        """Return a model of 0.9M parameters beside the token table; it learns a simple task on a laptop."""
        return dataclasses.replace(cls(4, 4, 128, 32, 512, patch_channels=32), **changes)  # type: ignore[arg-type]

    @classmethod
    def small(cls, **changes: float) -> "GatoConfig":
        """Return the paper's 79M."""
        return dataclasses.replace(cls(8, 24, 768, 32, 3072), **changes)  # type: ignore[arg-type]

    @classmethod
    def baseline(cls, **changes: float) -> "GatoConfig":
        """Return the paper's 364M."""
        return dataclasses.replace(cls(12, 12, 1536, 128, 6144), **changes)  # type: ignore[arg-type]

    @classmethod
    def large(cls, **changes: float) -> "GatoConfig":
        """Return the paper's 1.18B."""
        return dataclasses.replace(cls(24, 16, 2048, 128, 8192), **changes)  # type: ignore[arg-type]

    def parameter_count(self) -> int:
        """Count the trained numbers without allocating any. A test compares the count with built models."""
        heads = self.num_heads * self.key_value_size
        attention = 5 * self.width * heads + 2 * heads  # query, key, value, output, distances; two biases of queries
        feed_forward = self.width * self.feed_forward_size + self.feed_forward_size // 2 * self.width
        block = attention + feed_forward + 2 * 2 * self.width  # and two norms
        rows = self.vocabulary_size + self.local_positions + 1 + 2 * self.quantization
        return self.num_layers * block + 2 * self.width + rows * self.width + self._patch_parameters()

    def _patch_parameters(self) -> int:
        channels = self.patch_channels
        stem = STEM * STEM * 3 * channels + channels
        block = 2 * (2 * channels + 9 * channels * channels + channels)  # twice: norm, 3 x 3 convolution
        shortcut = channels * channels + channels  # of the first block, which halves the map
        return stem + self.patch_blocks * block + shortcut + 2 * channels + (MAP**2 * channels + 1) * self.width

    def to_json(self) -> str:
        """Write it as JSON, the content of a run's config.json."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "GatoConfig":
        """Read what `to_json` wrote. Raises ValueError naming the keys that are unknown or missing."""
        values = json.loads(text)
        fields = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != fields:
            wrong = sorted(set(values) ^ fields) if isinstance(values, dict) else values
            raise ValueError(f"a model's configuration has exactly the keys {sorted(fields)}; wrong: {wrong}")
        return cls(**values)

    @property
    def attention_scale(self) -> float:
        """Return 1 / sqrt(key_value_size), the factor of attention's scores."""
        return 1 / math.sqrt(self.key_value_size)
