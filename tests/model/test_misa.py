"""MISA: private and shared vectors, three losses, fusion by attention."""

from math import comb, factorial

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from gexsent.model.misa import MISA, difference, moment_discrepancy

OUTPUTS = {"sentiment": 3, "intensity": 1}
few = settings(max_examples=10, deadline=None)
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


def misa(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"text_features": 6, "vision_features": 5, "outputs": OUTPUTS, "width": 8, "dropout": 0.0}
    return MISA(**settings | {"temporal": False} | changes).eval()


def plain_discrepancy(first, second):
    total = 0.0
    for k in range(1, 6):
        gap = []
        for column in range(first.shape[1]):
            moments = []
            for x in (first[:, column], second[:, column]):
                mean = sum(x) / len(x)
                moments.append(mean if k == 1 else sum((value - mean) ** k for value in x) / len(x))
            gap.append(moments[0] - moments[1])
        total += sum(g * g for g in gap) ** 0.5
    return total


def every(values):
    return torch.ones(len(values), dtype=torch.bool)


def plain_difference(first, second):
    first, second = first - first.mean(0), second - second.mean(0)
    total, width = 0.0, first.shape[1]
    for i in range(width):
        for j in range(width):
            rows = zip(first, second, strict=True)
            total += sum(a[i] / np.linalg.norm(a) * b[j] / np.linalg.norm(b) for a, b in rows) ** 2
    return total / width**2


def test_forward_and_losses_against_plain_numpy(make_batch, shake, arrays, layer_norm, softmax, gelu):
    """Samples with both, with one and with none: each loss is over those that it speaks of."""
    model = shake(misa())
    model.text_in.standardise(torch.linspace(-1, 1, 6), torch.linspace(0.5, 2, 6))
    model.vision_in.standardise(torch.linspace(1, 0, 5), torch.linspace(2, 0.5, 5))
    batch = make_batch((4, 2, 0, 3, 1, 0, 2), (2, 0, 3, 1, 5, 0, 0), extra=2, fill=9.0)
    w = arrays(model)
    output = model(batch)

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def sigmoid(name, x):
        return 1 / (1 + np.exp(-linear(f"{name}.0", x)))

    whole, private, shared, errors = ({"text": {}, "vision": {}} for _ in range(4))
    for b in range(7):
        for m in ("text", "vision"):
            tokens = getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy()
            if not len(tokens):
                continue
            tokens = (tokens - w[f"{m}_in.mean"]) / w[f"{m}_in.deviation"]
            mean = norm(f"{m}_in.norm", linear(f"{m}_in.project", tokens)).mean(0)
            whole[m][b] = norm(f"{m}_net.2", np.maximum(linear(f"{m}_net.0", mean), 0))
            private[m][b], shared[m][b] = sigmoid(f"{m}_private", whole[m][b]), sigmoid("shared", whole[m][b])
            again = linear(f"{m}_decoder", private[m][b] + shared[m][b])
            errors[m][b] = ((again - whole[m][b]) ** 2).mean()

        vectors = [side[m].get(b) for side in (private, shared) for m in ("text", "vision")]
        there = np.array([x for x in vectors if x is not None]).reshape(-1, 8)
        fused = []
        for x in vectors:
            if x is None:
                fused.append(np.zeros(8))
                continue
            query = linear("fusion.query", norm("fusion.norm", x))
            key, value = np.split(linear("fusion.key_value", norm("fusion.norm", there)), 2, axis=1)
            heard = [softmax(key[:, h] @ query[h] / 2) @ value[:, h] for h in (slice(0, 4), slice(4, 8))]
            x = x + linear("fusion.out", np.concatenate(heard))
            inner = np.maximum(linear("fusion.feed_forward.1", norm("fusion.feed_forward.0", x)), 0)
            fused.append(x + linear("fusion.feed_forward.3", inner))
        hidden = gelu(linear("heads.hidden.2", norm("heads.hidden.0", np.concatenate(fused))))
        for task, scores in output.heads.items():
            np.testing.assert_allclose(scores[b].detach(), linear(f"heads.tasks.{task}", hidden), atol=1e-4, rtol=1e-4)

    def of(side, modality, rows):
        return np.array([side[modality][b] for b in rows])

    text, vision, both = (0, 1, 3, 4, 6), (0, 2, 3, 4), (0, 3, 4)
    expected = {
        "similarity": plain_discrepancy(of(shared, "text", both), of(shared, "vision", both)),
        "difference": 0.3
        * (
            plain_difference(of(private, "text", text), of(shared, "text", text))
            + plain_difference(of(private, "vision", vision), of(shared, "vision", vision))
            + plain_difference(of(private, "text", both), of(private, "vision", both))
        ),
        "reconstruction": (np.mean(list(errors["text"].values())) + np.mean(list(errors["vision"].values()))) / 2,
    }
    assert {name: float(loss.detach()) for name, loss in output.losses.items()} == pytest.approx(expected, rel=1e-4)


def test_discrepancy_is_zero_for_equal_samples_in_any_order():
    x = torch.rand(16, 4, generator=torch.Generator().manual_seed(0))
    assert float(moment_discrepancy(x, x.flip(0), every(x))) == pytest.approx(0, abs=1e-6)
    assert float(moment_discrepancy(x, x / 2 + 0.3, every(x))) > 0.05


@pytest.mark.parametrize("k", range(1, 6))
def test_discrepancy_sees_each_of_five_moments(k):
    """Points i/k, each comb(k, i) times, even i against odd: the k-th moment, k! / k^k / 2^(k-1) apart, is the first."""
    counts = [comb(k, i) for i in range(k + 1)]
    even, odd = (np.repeat(np.arange(k + 1)[side::2] / k, counts[side::2]) for side in (0, 1))
    gaps = [abs(even.mean() - odd.mean())]
    gaps += [abs(((even - even.mean()) ** j).mean() - ((odd - odd.mean()) ** j).mean()) for j in range(2, 6)]
    assert gaps[:k] == pytest.approx([0] * (k - 1) + [factorial(k) / k**k / 2 ** (k - 1)])
    found = moment_discrepancy(torch.from_numpy(even)[:, None], torch.from_numpy(odd)[:, None], every(even))
    assert float(found) == pytest.approx(sum(gaps), abs=1e-6)


def test_difference_is_zero_for_unrelated_vectors_and_large_for_equal_ones():
    signs = torch.tensor([[a, b] for a in (1.0, -1.0) for b in (1.0, -1.0)])  # (4, 2), columns orthogonal
    first, second = signs[:, :1] * torch.ones(1, 3), signs[:, 1:] * torch.ones(1, 3)
    assert float(difference(first, second, every(first))) == pytest.approx(0, abs=1e-8)
    # All rows are ± a unit vector with entries 1/sqrt(3): each entry of A'A is 4/3.
    assert float(difference(first, first, every(first))) == pytest.approx((4 / 3) ** 2, rel=1e-5)
    assert float(difference(first, 5 * first + 2, every(first))) == pytest.approx((4 / 3) ** 2, rel=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_losses_of_too_few_or_equal_samples_are_zero_with_quiet_gradients(rows):
    """Central moments and correlations need variety; without it there is nothing to push."""
    vectors = (torch.rand(1, 64, generator=torch.Generator().manual_seed(0)) * torch.ones(rows, 1)).requires_grad_()
    for loss in (
        moment_discrepancy(vectors, vectors.detach(), every(vectors)),
        difference(vectors, vectors.detach(), every(vectors)),
    ):
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        (gradient,) = torch.autograd.grad(loss, vectors)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() < 1e-2


def test_losses_stay_in_full_precision_under_autocast(make_batch):
    model, batch = misa(), make_batch((4, 2, 3, 1), (2, 5, 1, 2))
    plain = model(batch).losses
    with torch.autocast("cpu", torch.bfloat16):
        cast = model(batch).losses
    for name, loss in cast.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, plain[name], atol=0.02, rtol=0.05)


def test_each_loss_trains_what_it_speaks_of(make_batch):
    reached = {
        "similarity": {"text_net", "vision_net", "shared"},
        "difference": {"text_net", "vision_net", "shared", "text_private", "vision_private"},
    }
    reached["reconstruction"] = reached["difference"] | {"text_decoder", "vision_decoder"}
    for name, parts in reached.items():
        model = misa()
        model(make_batch()).losses[name].backward()
        found = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert found == parts | {"text_in", "vision_in"}


def test_without_vision_only_the_losses_of_text_remain(make_batch):
    model, batch = misa(), make_batch((4, 2, 3), (2, 5, 1))
    hidden = batch._replace(vision_mask=torch.zeros_like(batch.vision_mask))
    losses = model(hidden).losses
    assert losses["similarity"] == 0
    assert losses["difference"] > 0
    assert losses["reconstruction"] > 0
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
        if name.startswith("vision"):
            assert parameter.grad is None or not parameter.grad.any(), name


def test_width_must_be_even():
    with pytest.raises(ValueError, match=r"attention heads \(2\) must divide the width \(9\)"):
        misa(width=9)
