"""Everything that fixes the tensors of a draft module: its place in the target, and its sizes.

Knows nothing of where weights come from.
"""

from dataclasses import dataclass, replace

from executor.draft.cut import Cut
from executor.model.architecture import LayerShape
from executor.model.dense import DenseShape
from executor.model.hybrid import HybridShape


@dataclass(frozen=True, slots=True)
class DraftShape:
    """The sizes of a draft module.

    cut: the target's stages and the anchors. layer: each of its decoder layers. num_layers: how many, L_s.
    vocab_size: the target's. draft_token_ids: the token ids that it can draft, rising; None: all.
    """

    cut: Cut
    layer: DenseShape
    num_layers: int
    vocab_size: int
    draft_token_ids: tuple[int, ...] | None = None

    @property
    def draft_vocab_size(self) -> int:
        """How many token ids it can draft."""
        return self.vocab_size if self.draft_token_ids is None else len(self.draft_token_ids)


def draft_layer(target: LayerShape) -> DenseShape:
    """Return the layer of a draft module for a target with such layers: full attention, q and k norms, no biases."""
    dense = target.dense if isinstance(target, HybridShape) else target
    return replace(dense, qk_norm=True, attention_bias=False, output_bias=False, window=None)
