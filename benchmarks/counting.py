"""How much work a call asks for, counted and not timed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from gexsent.model.cost import _plain_products

LOOKED_UP = {"index_select", "index", "embedding", "gather"}  # of a large table they read only what they return


class Work(NamedTuple):
    """flops: multiplications and additions of matrix products. bytes: what all other operations read and write, as if
    nothing stayed in a cache from one to the next."""

    flops: int
    bytes: int


def count(call: Callable[[], object]) -> Work:
    """The work of one call of torch operations, backward passes included."""
    with _plain_products(), FlopCounterMode(display=False) as products, Traffic() as others:
        call()
    return Work(products.get_total_flops(), others.bytes)


class Traffic(TorchDispatchMode):
    """Adds up the operands and results of every operation but views and matrix products."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry:
            with self:
                whole = func.decompose(*args, **kwargs)  # into the operations that it is made of, each counted here
            if whole is not NotImplemented:
                return whole
        result = func(*args, **kwargs)
        name = func._overloadpacket.__name__
        if func._overloadpacket in flop_registry or func.is_view or name.startswith(("empty", "new_empty")):
            return result
        if name in LOOKED_UP:
            self.bytes += 2 * _size(result)
        else:
            self.bytes += _size((args, kwargs)) + _size(result)
        return result


def _size(values: Any) -> int:
    """Bytes of all tensors in there; one that is spread over more rows than it has counts once."""
    found = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
    return sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in found)
