"""What is exported of a model, in torch: towers from ids or pixels to unit-length embeddings.

OpenCLIP's own transformers compute the last state of all tokens, and the pooling takes one of them. The towers here
give the same with fewer products and fewer nodes (docs/adr/0027).
"""

from typing import Any

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from models.preprocessing import Preprocessing

MIDDLE = 128
"""Of a pixel's values: products of what is centred are small enough for fp16."""


class ImageTower(nn.Module):
    """uint8 [n, h, w, 3] -> unit-length float32 [n, d]; normalisation is inside, so that no caller gets it wrong."""

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        scale, shift = _normalisation(preprocessing)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels 0 to 255."""
        scaled = pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift
        return functional.normalize(self.model.encode_image(scaled).float(), dim=-1)


class TextTower(nn.Module):
    """ids int64 [n, l] -> unit-length float32 [n, d]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids."""
        return functional.normalize(self.model.encode_text(ids).float(), dim=-1)


class MeanTextTower(nn.Module):
    """A Hugging Face text tower that OpenCLIP pools by the mean over a text's tokens.

    The mean is a product here: ONNX Runtime's sum adds in another order in another batch, and the last bit changes.
    """

    def __init__(self, tower: open_clip.hf_model.HFTextEncoder) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids."""
        mask = (ids != self.tower.config.pad_token_id).long()
        states = self.tower.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        shares = mask / mask.sum(dim=-1, keepdim=True)
        pooled = (shares.unsqueeze(1) @ states).squeeze(1)
        return functional.normalize(self.tower.proj(pooled).float(), dim=-1)


class CausalTextTower(nn.Module):
    """OpenCLIP's causal text tower for any length of 2 up to the context.

    Each token sees only those before it and the pooled one is the end of text, which each text has, so what follows
    cannot change the result. A start of text that is the same in all sees itself alone: what others see of it is
    constant.

    Args:
        start: Its id; None where texts do not begin alike.
    """

    def __init__(self, tower: nn.Module, start: int | None) -> None:
        super().__init__()
        self.tower = tower
        self.pool = _text_pool(tower)
        self.eos_id = getattr(tower, "eos_id", None) or getattr(tower, "text_eos_id", None)
        first = None if start is None else tower.token_embedding.weight[start] + tower.positional_embedding[0]
        self.begin = 0 if start is None else 1
        self.transformer = PooledTransformer(tower.transformer, first)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids."""
        tower, length, others = self.tower, ids.shape[1], ids[:, self.begin :]
        states = tower.token_embedding(others) + tower.positional_embedding[self.begin : length]
        wanted = others if self.pool == "argmax" else (others == self.eos_id).int()
        pooled = self.transformer(states, wanted.argmax(dim=-1), tower.attn_mask[self.begin : length, :length])
        return functional.normalize(_project(tower.ln_final(pooled), tower.text_projection).float(), dim=-1)


class PatchImageTower(nn.Module):
    """`ImageTower` of OpenCLIP's vision transformers; patches go through a product as they are, centred.

    The normalisation of pixels is part of that product's weights, for both are linear.
    """

    def __init__(self, visual: VisionTransformer, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.visual = visual
        self.transformer = PooledTransformer(visual.transformer)
        scale, shift = _normalisation(preprocessing)
        kernel = visual.conv1.weight
        of_middle = (kernel * (MIDDLE * scale - shift)).sum(dim=(1, 2, 3))
        positions = visual.positional_embedding
        self.register_buffer("weight", (kernel * scale).permute(2, 3, 1, 0).flatten(0, 2))
        self.register_buffer("places", positions[1:] + of_middle)
        self.register_buffer("pooled", (visual.class_embedding + positions[0]).view(1, 1, -1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels 0 to 255."""
        visual, count, (height, width) = self.visual, pixels.shape[0], self.visual.patch_size
        grid = pixels.unflatten(2, (-1, width)).unflatten(1, (-1, height))
        patches = grid.transpose(2, 3).flatten(3).flatten(1, 2)
        states = (patches.float() - MIDDLE) @ self.weight + self.places
        states = visual.ln_pre(torch.cat([self.pooled.expand(count, -1, -1), states], dim=1))
        first = torch.zeros(count, dtype=torch.long, device=pixels.device)
        return functional.normalize(_project(visual.ln_post(self.transformer(states, first)), visual.proj), dim=-1)


class PooledTransformer(nn.Module):
    """OpenCLIP's transformer, of which the last state of one token is wanted.

    Args:
        first: State [width] of a token before all others that sees itself alone, and is the same in each row.
    """

    def __init__(self, transformer: nn.Module, first: Tensor | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        state = None if first is None else first.view(1, 1, -1)
        for block in transformer.resblocks:
            self.blocks.append(_Block(block, state))
            state = None if state is None else block(state)

    def forward(self, states: Tensor, wanted: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run all blocks.

        Args:
            states: [n, l, width].
            wanted: int64 [n], of each row the token whose state is to be had.
            mask: [l, l], or [l, 1 + l] where there is a first token: added to the attention of l tokens to others.

        Returns:
            [n, width].
        """
        *blocks, last = self.blocks
        for block in blocks:
            states = block(states, states, mask)
        rows = torch.arange(states.shape[0], device=states.device)
        mask = None if mask is None else mask[wanted, None, None]
        return last(states[rows, wanted].unsqueeze(1), states, mask).squeeze(1)


class _Block(nn.Module):
    """A `ResidualAttentionBlock` of fewer nodes.

    Args:
        first: State [1, 1, width] of a token before all others, if there is one.
    """

    def __init__(self, block: ResidualAttentionBlock, first: Tensor | None) -> None:
        super().__init__()
        self.block, self.heads = block, block.attn.num_heads
        width = block.attn.embed_dim
        weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
        scale = (width // self.heads) ** -0.5  # of the scores, once and for all
        self.query = _linear(weight[:width] * scale, bias[:width] * scale)
        self.key_value = _linear(weight[width:], bias[width:])
        self.register_buffer("first", None if first is None else self.key_value(block.ln_1(first)))

    def forward(self, wanted: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
        """New states [n, m, width] of the wanted ones, which see all that the mask lets them."""
        block = self.block
        seen = self.key_value(block.ln_1(states))
        if self.first is not None:
            seen = torch.cat([self.first.expand(states.shape[0], -1, -1), seen], dim=1)
        key, value = (self._by_head(part) for part in seen.chunk(2, dim=-1))
        scores = self._by_head(self.query(block.ln_1(wanted))) @ key.transpose(2, 3)
        shares = (scores if mask is None else scores + mask).softmax(dim=-1)
        wanted = wanted + block.ls_1(block.attn.out_proj((shares @ value).transpose(1, 2).flatten(2)))
        return wanted + block.ls_2(block.mlp(block.ln_2(wanted)))

    def _by_head(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)


@torch.no_grad()
def image_tower(model: nn.Module, preprocessing: Preprocessing) -> nn.Module:
    """The tower to export."""
    is_patches = type(model.visual) is VisionTransformer and _pools_a_token_of_patches(model.visual)
    return PatchImageTower(model.visual, preprocessing) if is_patches else ImageTower(model, preprocessing)


@torch.no_grad()
def text_tower(model: nn.Module, ids: Tensor) -> tuple[nn.Module, bool]:
    """The tower to export, and whether a text may be trimmed to its own length.

    Trimming is exact for causal towers that pool at the end of text, and for Hugging Face towers, which mask padding.
    Towers that attend to padding (SigLIP, MobileCLIP) need the full context.

    Args:
        ids: int64 [n, l] of some texts, an empty one among them; they tell whether all texts begin with one token.
    """
    tower: Any = getattr(model, "text", model)
    if isinstance(tower, open_clip.hf_model.HFTextEncoder):
        is_mean = isinstance(tower.pooler, open_clip.hf_model.MeanPooler)
        return (MeanTextTower(tower) if is_mean else TextTower(model)), True
    causal = getattr(tower, "attn_mask", None) is not None and getattr(tower, "cls_emb", None) is None
    if causal and _text_pool(tower) in ("argmax", "eos") and _is_plain(tower):
        starts = ids[:, 0].unique().tolist()
        return CausalTextTower(tower, starts[0] if len(starts) == 1 else None), True
    return TextTower(model), False


def _pools_a_token_of_patches(visual: VisionTransformer) -> bool:
    """Of all patches: of a picture that they do not divide a convolution leaves out the rest."""
    sides = zip(visual.image_size, visual.patch_size, strict=True)
    is_divided = all(side % patch == 0 for side, patch in sides)
    return visual.attn_pool is None and visual.pool_type == "tok" and is_divided and _is_plain(visual)


def _is_plain(tower: Any) -> bool:
    """Whether its blocks are those that `_Block` knows."""
    blocks = list(tower.transformer.resblocks)
    return bool(blocks) and all(type(block) is ResidualAttentionBlock for block in blocks)


def _text_pool(tower: Any) -> str | None:
    return getattr(tower, "pool_type", None) or getattr(tower, "text_pool_type", None)


def _normalisation(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """What pixels 0 to 255 are multiplied by, and what is subtracted then: float32 [1, 3, 1, 1] each."""
    mean, std = torch.tensor(preprocessing.mean).view(1, 3, 1, 1), torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    return 1 / (255 * std), mean / std


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(*weight.T.shape, device=weight.device, dtype=weight.dtype)
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(bias)
    return made


def _project(pooled: Tensor, projection: nn.Linear | Tensor | None) -> Tensor:
    if projection is None:
        return pooled
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
