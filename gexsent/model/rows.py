"""The real tokens of a padded batch as rows end to end, so that nothing is computed for padding where that can be had."""

import torch
from torch import Tensor


def readable(tensor: Tensor) -> bool:
    """Whether a value of this tensor can be looked at for nothing. On a GPU the host would have to wait for all that
    was asked of it before, which is longer than the work that the value could save."""
    return tensor.device.type == "cpu"


class Rows:
    """Where the real tokens of a mask (B, L) lie among N rows.

    On a CPU the rows are the real tokens alone. Elsewhere, where only the device knows how many these are, they are all
    N = B L positions, and `real` tells them apart.
    """

    def __init__(self, mask: Tensor):
        self.mask = mask
        self.index = mask.flatten().nonzero()[:, 0] if readable(mask) else None  # (N,)
        self.real = mask.flatten() if self.index is None else None  # (N,), none where every row is real
        self.count = mask.numel() if self.index is None else len(self.index)  # N

    def pack(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (N, D), zeros in rows that are not real."""
        if self.index is None:
            return torch.where(self.mask.unsqueeze(-1), tokens, 0).flatten(0, 1)
        return tokens.flatten(0, 1).index_select(0, self.index)

    def pad(self, rows: Tensor) -> Tensor:
        """(N, D) -> (B, L, D), zeros at padding."""
        if self.index is None:
            return torch.where(self.mask.unsqueeze(-1), rows.unflatten(0, self.mask.shape), 0)
        positions = rows.new_zeros(self.mask.numel(), rows.shape[-1])
        return positions.index_copy(0, self.index, rows).unflatten(0, self.mask.shape)

    def each(self, values: Tensor) -> Tensor:
        """One value a sample (B,) -> (N, 1): that of the sample that a row belongs to."""
        if self.index is None:
            return values.unsqueeze(1).expand(self.mask.shape).reshape(-1, 1)
        return values.index_select(0, self.index // self.mask.shape[1]).unsqueeze(1)


def join(*rows: Rows) -> Tensor | None:
    """`real` of several after one another."""
    return None if rows[0].real is None else torch.cat([part.real for part in rows])
