"""The operations that numpy computes in torch's place: the same functions, and numpy's bytes."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from gexsent import arithmetic, machine


@pytest.fixture(autouse=True)
def pinned():
    assert machine.is_pinned()  # by tests/conftest.py
    arithmetic.pin()


def values(*shape, dtype=torch.float64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_numpys_to_the_bit(dtype):
    first, second = values(7, 33, dtype=dtype), values(33, 5, dtype=dtype, seed=1)
    assert (first @ second).numpy().tobytes() == np.matmul(first.numpy(), second.numpy()).tobytes()
    batch = first.expand(3, 7, 33)
    assert torch.equal(torch.bmm(batch, second.expand(3, 33, 5)), (first @ second).expand(3, 7, 5))


def test_bias_beta_and_alpha():
    first, second, bias = values(4, 3), values(3, 2, seed=1), values(2, seed=2)
    product = first.numpy() @ second.numpy()
    result = torch.addmm(bias, first, second, beta=0.5, alpha=2.0)
    np.testing.assert_allclose(result, 0.5 * bias.numpy() + 2 * product)
    nothing = torch.full((2,), torch.nan)
    np.testing.assert_allclose(torch.addmm(nothing.double(), first, second, beta=0), product)
    batches = torch.baddbmm(bias.expand(5, 1, 2), first.expand(5, 4, 3), second.expand(5, 3, 2))
    np.testing.assert_allclose(batches, np.broadcast_to(bias.numpy() + product, (5, 4, 2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_product_written_into_a_place_is_the_same_product(dtype):
    first, second, bias = values(7, 33, dtype=dtype), values(33, 5, dtype=dtype, seed=1), values(5, dtype=dtype, seed=2)
    product = np.matmul(first.numpy(), second.numpy()).tobytes()
    whole = torch.full((7, 10), torch.nan, dtype=dtype)
    torch.mm(first, second, out=whole[:, ::2])  # with gaps
    assert whole[:, ::2].numpy().tobytes() == product and whole[:, 1::2].isnan().all()
    sum_ = torch.addmm(bias, first, second)
    place = torch.full((7, 5), torch.nan, dtype=dtype)
    assert torch.equal(torch.addmm(bias, first, second, out=place), sum_) and torch.equal(place, sum_)
    own = bias.expand(7, 5).clone()
    torch.addmm(own, first, second, out=own)
    assert torch.equal(own, sum_)
    assert torch.equal(bias.expand(7, 5).clone().addmm_(first, second), sum_)
    other = torch.zeros(0, dtype=dtype)
    assert torch.equal(torch.mm(first, second, out=other), first @ second)
    batch = torch.empty(2, 7, 5, dtype=dtype)
    torch.bmm(first.expand(2, 7, 33), second.expand(2, 33, 5), out=batch)
    assert torch.equal(batch[1], first @ second)


def test_matrices_of_two_types_are_refused():
    with pytest.raises(RuntimeError, match="of one dtype, found"):
        torch.mm(torch.ones(2, 2), torch.ones(2, 2).double())


def test_gradients_pass_through():
    first, second = values(4, 3).requires_grad_(), values(5, 3, seed=1).requires_grad_()
    bias = values(5, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(torch.nn.functional.linear, (first, second, bias))
    positive = (values(6).abs() + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: x.sqrt() + x.log(), (positive,))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float16, torch.complex64])
def test_other_types_are_multiplied_too(dtype):
    first, second = (torch.arange(6).view(shape).to(dtype) for shape in ((2, 3), (3, 2)))
    expected = torch.tensor([[10, 13], [28, 40]]).to(dtype)
    assert torch.equal(first @ second, expected)
    assert torch.equal(torch.bmm(first[None], second[None])[0], expected)
    root = (first * first).sqrt()
    assert root.dtype == (dtype if dtype != torch.int64 else torch.float32)
    torch.testing.assert_close(root, first.to(root.dtype))


def test_roots_and_logarithms_at_the_edges():
    edges = torch.tensor([0.0, -1.0, torch.inf, torch.nan, 4.0])
    torch.testing.assert_close(edges.sqrt(), torch.tensor([0, torch.nan, torch.inf, torch.nan, 2.0]), equal_nan=True)
    expected = torch.tensor([-torch.inf, torch.nan, torch.inf, torch.nan, 4.0**0.5])
    torch.testing.assert_close(edges.log()[:4], expected[:4], equal_nan=True)
    assert torch.tensor(4.0).sqrt().shape == ()
    assert torch.zeros(0, 3).log().shape == (0, 3)
    assert torch.zeros(0, 3).mm(torch.zeros(3, 2)).shape == (0, 2)


def test_without_the_settings_torch_is_left_alone():
    """In a process of its own: what is replaced stays so."""
    code = "from gexsent import arithmetic; arithmetic.pin(); print(arithmetic._replace.cache_info().currsize)"
    for pinned in (False, True):
        environment = {key: value for key, value in os.environ.items() if key not in machine.PINS}
        environment |= machine.PINS if pinned else {}
        result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert result.stdout.strip() == str(int(pinned)), result.stderr
