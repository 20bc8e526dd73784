from layer_contract import TOY

from gato_model.network.model import Gato
from gato_model.network.named_weights import named_weights

PATHS = {  # some of them, with their shapes: files hold these names
    "token_embedding.table": [TOY.vocabulary_size, TOY.width],
    "patch_embedding.stem.kernel": [7, 7, 3, TOY.patch_channels],
    "patch_embedding.blocks.0.convolutions.1.bias": [TOY.patch_channels],
    "patch_position.rows": [TOY.quantization, TOY.width],
    "local_position.table": [TOY.local_positions + 1, TOY.width],
    "transformer.blocks.0.norms.1.gamma": [TOY.width],
    "transformer.blocks.0.attention.query_key_value": [TOY.width, 3 * TOY.num_heads * TOY.key_value_size],
    "transformer.blocks.0.attention.content_bias": [TOY.num_heads, 1, TOY.key_value_size],
    "transformer.blocks.0.feed_forward.output": [TOY.feed_forward_size // 2, TOY.width],
    "transformer.norm.beta": [TOY.width],
}


def test_every_weight_has_a_path():
    model = Gato(TOY)
    named = named_weights(model)
    assert all(one is other for one, other in zip(named.values(), model.weights, strict=True))
    assert PATHS == {path: list(named[path].shape) for path in PATHS}


def test_paths_do_not_depend_on_the_process():
    """Keras's paths do: a second model's layers have other numbers."""
    one, other = Gato(TOY), Gato(TOY)
    assert list(named_weights(one)) == list(named_weights(other))
    assert one.weights[1].path != other.weights[1].path
