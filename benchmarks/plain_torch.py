"""Alternative for the training benchmark: a decoder of the same sizes in plain PyTorch, as most would write it.

Tied table, pre-norm, GEGLU, `scaled_dot_product_attention`, fused AdamW. Positions are a learned table of places, or,
with `relative`, the same relative attention as ours, given to `scaled_dot_product_attention` as a float mask.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gato_model.config import GatoConfig


class Attention(nn.Module):
    def __init__(self, config: GatoConfig, relative: bool) -> None:
        super().__init__()
        self.heads, self.size = config.num_heads, config.key_value_size
        inner = self.heads * self.size
        self.query_key_value = nn.Linear(config.width, 3 * inner, bias=False)
        self.output = nn.Linear(inner, config.width, bias=False)
        self.distance = nn.Linear(config.width, inner, bias=False) if relative else None
        self.content_bias = nn.Parameter(torch.zeros(self.heads, 1, self.size)) if relative else None
        self.distance_bias = nn.Parameter(torch.zeros(self.heads, 1, self.size)) if relative else None

    def forward(self, x: Tensor, far: Tensor) -> Tensor:
        rows, length, _ = x.shape
        parts = self.query_key_value(x).view(rows, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)  # rows, heads, length, size
        if self.distance is None:
            attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            mask = self._distances(queries, far)
            queries = queries + self.content_bias
            attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.output(attended.transpose(1, 2).reshape(rows, length, -1))

    def _distances(self, queries: Tensor, far: Tensor) -> Tensor:
        """float[rows, heads, length, length]: what each distance adds; later tokens are masked."""
        length = queries.shape[2]
        vectors = self.distance(far.flip(0)).view(length, self.heads, self.size).permute(1, 2, 0)
        scores = (queries + self.distance_bias) @ vectors / math.sqrt(self.size)
        turned = functional.pad(scores, (1, 0)).view(*scores.shape[:2], length + 1, length)[:, :, 1:]
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        return turned.reshape(scores.shape).masked_fill(later, -math.inf)


class Block(nn.Module):
    def __init__(self, config: GatoConfig, relative: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, 1e-6) for _ in range(2))
        self.attention = Attention(config, relative)
        self.gate_and_value = nn.Linear(config.width, config.feed_forward_size, bias=False)
        self.output = nn.Linear(config.feed_forward_size // 2, config.width, bias=False)

    def forward(self, x: Tensor, far: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x), far)
        gate, value = self.gate_and_value(self.norms[1](x)).chunk(2, -1)
        return x + self.output(functional.gelu(gate) * value)


class Decoder(nn.Module):
    """A decoder that returns the logits of all places or, given `index`, only those of its flat places."""

    def __init__(self, config: GatoConfig, relative: bool = False) -> None:
        super().__init__()
        self.relative = relative
        self.table = nn.Embedding(config.vocabulary_size, config.width)
        nn.init.normal_(self.table.weight, std=0.02)
        self.places = None if relative else nn.Embedding(config.sequence_length, config.width)
        self.blocks = nn.ModuleList(Block(config, relative) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width, 1e-6)
        rates = 10_000.0 ** (-torch.arange(0, config.width, 2) / config.width)
        angles = torch.arange(config.sequence_length)[:, None] * rates
        self.register_buffer("far", torch.cat([angles.sin(), angles.cos()], -1))

    def forward(self, tokens: Tensor, index: Tensor | None = None) -> Tensor:
        x = self.table(tokens)
        if self.places is not None:
            x = x + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, self.far[: tokens.shape[1]])
        x = self.norm(x).flatten(0, 1)
        return (x if index is None else x[index]) @ self.table.weight.T


class TorchStep:
    """One training step: forward, backward, AdamW. `gather`: compute logits only where a token is predicted."""

    def __init__(self, config: GatoConfig, gather: bool, relative: bool = False) -> None:
        torch.manual_seed(0)
        self.model, self.gather = Decoder(config, relative), gather
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-4, (0.9, 0.95), 1e-8, 0.1, fused=True)

    def __call__(self, tokens: Tensor, index: Tensor, targets: Tensor) -> float:
        """tokens and targets int64[rows, length], index int64[K]: flat places that predict. Returns the loss."""
        flat = targets.flatten()
        if self.gather:
            loss = functional.cross_entropy(self.model(tokens, index), flat[index])
        else:
            masked = torch.full_like(flat, -100).index_copy(0, index, flat[index])
            loss = functional.cross_entropy(self.model(tokens), masked)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
