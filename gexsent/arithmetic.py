"""Torch's operations on the CPU whose bytes depend on the processor, computed by numpy in their place.

Torch multiplies with MKL, which has one setting under which AMD's and Intel's processors give the same bytes, and there it
does without AVX: two to four times slower. OpenBLAS with one fixed kernel (machine.PINS) gives the same bytes on both at
the full speed of AVX2. MKL's square roots, and its logarithms of float64, differ in their last bit whatever the setting.
oneDNN and NNPACK choose the code of whole layers to fit the processor: they are switched off.
Autograd, inference and everything else stay torch's: only the functions below are replaced.
"""

import functools
import warnings

import numpy as np
import torch
from torch import Tensor

from gexsent import machine

_OPERATIONS = torch.ops.aten
_REAL = (torch.float32, torch.float64)
_SHORT = (torch.bfloat16, torch.float16)  # summed in float32, as torch does


def pin() -> None:
    """Replace them where the settings of machine.py hold in this process; else leave torch as it is."""
    if machine.is_pinned():
        _replace()


@functools.cache
def _replace() -> torch.library.Library:
    library = torch.library.Library("aten", "IMPL")
    replaced = {"mm": _mm, "bmm": _mm, "addmm": _addmm, "baddbmm": _addmm, "sqrt": _sqrt, "log": _log}
    replaced |= {"mm.out": _mm_out, "bmm.out": _mm_out, "addmm.out": _addmm_out, "baddbmm.out": _addmm_out}
    replaced |= {"addmm_": _addmm_in_place, "baddbmm_": _addmm_in_place}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of what is wanted here
        for name, function in replaced.items():
            library.impl(name, function, "CPU")
    torch.backends.mkldnn.set_flags(False)
    torch.backends.nnpack.set_flags(False)
    return library  # the functions are in place for as long as this object lives


def _mm(first: Tensor, second: Tensor) -> Tensor:
    """(N, K) @ (K, M), or a batch of such."""
    if first.dtype != second.dtype:
        raise RuntimeError(f"expected two matrices of one dtype, found {first.dtype} and {second.dtype}")
    if first.dtype in _SHORT:
        return _mm(first.float(), second.float()).to(first.dtype)
    return torch.from_numpy(np.matmul(first.numpy(force=True), second.numpy(force=True)))


def _mm_out(first: Tensor, second: Tensor, *, out: Tensor) -> Tensor:
    """The same, written into `out`."""
    shape = (*first.shape[:-1], second.shape[-1])
    if first.dtype not in _REAL or first.dtype != second.dtype or out.dtype != first.dtype or out.shape != shape:
        return out.resize_(shape).copy_(_mm(first, second))
    np.matmul(first.numpy(force=True), second.numpy(force=True), out=out.numpy(force=True))
    return out


def _addmm(bias: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * bias + alpha * first @ second; the bias is broadcast."""
    return _added(_mm(first, second), bias, beta, alpha)


def _addmm_out(
    bias: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1, out: Tensor
) -> Tensor:
    if bias.data_ptr() == out.data_ptr():
        return out.copy_(_addmm(bias, first, second, beta=beta, alpha=alpha))
    return _added(_mm_out(first, second, out=out), bias, beta, alpha)


def _addmm_in_place(bias: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return bias.copy_(_addmm(bias, first, second, beta=beta, alpha=alpha))


def _added(product: Tensor, bias: Tensor, beta: float, alpha: float) -> Tensor:
    if alpha != 1:
        product *= alpha
    return product if beta == 0 else product.add_(bias, alpha=beta)  # with 0 the bias may hold anything, NaN included


def _sqrt(values: Tensor) -> Tensor:
    return _elementwise(np.sqrt, _OPERATIONS.sqrt, values)


def _log(values: Tensor) -> Tensor:
    return _elementwise(np.log, _OPERATIONS.log, values)


def _elementwise(function: np.ufunc, operation: torch._ops.OpOverloadPacket, values: Tensor) -> Tensor:
    if values.dtype not in _REAL:
        return operation.out(values, out=torch.empty_like(values, dtype=_result_type(values)))
    with np.errstate(all="ignore"):  # of negative numbers NaN, and of 0 -inf, as in torch
        return torch.from_numpy(np.asarray(function(values.numpy(force=True))))


def _result_type(values: Tensor) -> torch.dtype:
    is_inexact = values.dtype.is_floating_point or values.dtype.is_complex
    return values.dtype if is_inexact else torch.get_default_dtype()
