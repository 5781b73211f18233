"""H-GMoE against plain loops over tokens, experts and samples."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model.experts import ExpertGroup, FlatMixture, HierarchicalMixture, SortedExperts


@pytest.fixture(scope="session")
def plain_group(softmax, gelu):
    """One group, token by token: (N, d) -> tokens (N, d), usage (E,), balance, z."""

    def expert(w, index, h):
        value, gate = np.split(h @ w["w_in"][index] + w["b_in"][index], 2)
        return (value * gelu(gate)) @ w["w_out"][index] + w["b_out"][index]

    def plain_group(w, tokens, top_k):
        count = len(w["w_in"])
        usage, probabilities, z, results = np.zeros(count), np.zeros(count), 0.0, []
        for h in tokens:
            logits = w["router.weight"] @ h
            p = softmax(logits)
            top = sorted(range(count), key=lambda i: -p[i])[:top_k]
            results.append(sum(p[i] / sum(p[j] for j in top) * expert(w, i, h) for i in top))
            for i in top:
                usage[i] += 1 / (top_k * len(tokens))
            probabilities += p / len(tokens)
            z += math.log(np.exp(logits).sum()) ** 2 / len(tokens)
        results = np.stack(results) if results else np.zeros(tokens.shape)
        return results, usage, count * float(usage @ probabilities), z

    return plain_group


def tokens_of(count, width=6, seed=1):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=25, deadline=None)
@given(
    tokens=st.integers(0, 12),
    experts=st.integers(1, 5),
    top=st.integers(1, 5),
    hidden=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_group_against_a_loop_over_tokens(plain_group, shake, arrays, tokens, experts, top, hidden, seed):
    group = shake(ExpertGroup(6, hidden=hidden, count=experts, top_k=min(top, experts)), seed)
    inputs = tokens_of(tokens, seed=seed)
    found = group(inputs)
    results, usage, balance, z = plain_group(arrays(group), inputs.double().numpy(), min(top, experts))
    np.testing.assert_allclose(found.tokens.detach(), results, atol=1e-5)
    np.testing.assert_allclose(found.usage, usage, atol=1e-6)
    assert found.balance.item() == pytest.approx(balance, abs=1e-5)
    assert found.z.item() == pytest.approx(z, rel=1e-5)


@pytest.mark.parametrize(("experts", "top"), [(1, 1), (4, 1), (5, 2), (3, 3)])
def test_a_group_whose_choices_are_not_read_against_the_loop(unread, plain_group, shake, arrays, experts, top):
    """What a GPU computes: every expert on every row, padding among them, which counts for nothing."""
    group = shake(ExpertGroup(6, hidden=3, count=experts, top_k=top))
    inputs, real = tokens_of(12), torch.rand(12, generator=torch.Generator().manual_seed(0)) > 0.3
    found = group(inputs, real)
    results, usage, balance, z = plain_group(arrays(group), inputs[real].double().numpy(), top)
    np.testing.assert_allclose(found.tokens[real].detach(), results, atol=1e-5)
    np.testing.assert_allclose(found.usage, usage, atol=1e-6)
    assert found.balance.item() == pytest.approx(balance, abs=1e-5)
    assert found.z.item() == pytest.approx(z, rel=1e-5)
    nothing = group(inputs, torch.zeros_like(real))
    assert [nothing.usage.sum().item(), nothing.balance.item(), nothing.z.item()] == [0, 0, 0]


@pytest.mark.parametrize("counts", [[4, 1, 3], [0, 8, 0], [0, 0, 0]])
def test_sorted_experts_are_an_expert_a_part(shake, counts):
    group = shake(ExpertGroup(5, hidden=2, count=3, top_k=1)).double()
    rows = torch.randn(sum(counts), 5, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    inputs = rows, group.w_in, group.b_in, group.w_out, group.b_out
    parts = [group.expert(index, part) for index, part in enumerate(rows.split(counts))]
    torch.testing.assert_close(SortedExperts.apply(*inputs, counts), torch.cat(parts))
    assert torch.autograd.gradcheck(lambda *given: SortedExperts.apply(*given, counts), inputs)


def test_all_experts_chosen_is_the_dense_mixture(shake, arrays, softmax, gelu):
    group = shake(ExpertGroup(6, hidden=4, count=5, top_k=5))
    inputs = tokens_of(9)
    w, h = arrays(group), inputs.double().numpy()
    p = softmax(h @ w["router.weight"].T)  # (N, E): nothing is left out, so nothing is renormalised
    value, gate = np.split(np.einsum("nd,edh->neh", h, w["w_in"]) + w["b_in"], 2, -1)
    outputs = np.einsum("neh,ehd->ned", value * gelu(gate), w["w_out"]) + w["b_out"]
    np.testing.assert_allclose(group(inputs).tokens.detach(), np.einsum("ne,ned->nd", p, outputs), atol=1e-5)


def test_one_expert_is_a_plain_feed_forward_network(shake, arrays, gelu):
    group = shake(ExpertGroup(6, hidden=4, count=1, top_k=1))
    inputs = tokens_of(9)
    w, h = arrays(group), inputs.double().numpy()
    value, gate = np.split(h @ w["w_in"][0] + w["b_in"][0], 2, -1)
    expected = (value * gelu(gate)) @ w["w_out"][0] + w["b_out"][0]
    np.testing.assert_allclose(group(inputs).tokens.detach(), expected, atol=1e-5)


def test_expert_by_index_is_the_expert_that_the_group_uses(shake):
    group = shake(ExpertGroup(6, hidden=4, count=3, top_k=1))
    inputs = tokens_of(20)
    routed = group(inputs)
    for token, chosen, result in zip(inputs, routed.chosen[:, 0], routed.tokens, strict=True):
        torch.testing.assert_close(group.expert(int(chosen), token[None])[0], result)


@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(1, 12), top=st.integers(1, 4), seed=st.integers(0, 99))
def test_gates_and_usage_sum_to_one(shake, tokens, top, seed):
    routed = shake(ExpertGroup(6, hidden=2, count=4, top_k=top), seed)(tokens_of(tokens, seed=seed))
    assert routed.gates.shape == routed.chosen.shape == (tokens, top)
    torch.testing.assert_close(routed.gates.sum(1), torch.ones(tokens))
    assert routed.usage.sum().item() == pytest.approx(1, abs=1e-6)
    assert all(len(set(row)) == top for row in routed.chosen.tolist())  # no expert twice for one token


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_a_token_does_not_depend_on_its_neighbours(shake, seed):
    group = shake(ExpertGroup(6, hidden=4, count=4, top_k=2), seed)
    inputs = tokens_of(8, seed=seed)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(group(inputs).tokens[order], group(inputs[order]).tokens)


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 30.0])
def test_balance_is_one_when_experts_are_used_evenly(sharpness):
    group = ExpertGroup(4, hidden=2, count=4, top_k=1)
    group.router.weight.data = torch.eye(4)
    # Token i prefers expert i by `sharpness`; at 0 all are tied and the probabilities are uniform.
    assert group(sharpness * torch.eye(4)).balance.item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("top_k", "expected"), [(1, 4.0), (2, 2.0)])
def test_balance_when_all_tokens_go_the_same_way(top_k, expected):
    group = ExpertGroup(4, hidden=2, count=4, top_k=top_k)
    group.router.weight.data = torch.eye(4)
    inputs = torch.tensor([[60.0, 40.0, 0.0, 0.0]]).repeat(5, 1)  # expert 0 has probability 1, expert 1 comes second
    routed = group(inputs)
    # E sum f P = 4 (1 x 1) for top 1; for top 2, f = (1/2, 1/2, 0, 0) because usage sums to 1, and 4 (1/2 x 1) = 2.
    assert routed.balance.item() == pytest.approx(expected)
    assert routed.usage.tolist() == pytest.approx([1 / top_k] * top_k + [0] * (4 - top_k))


def test_z_loss_by_hand():
    group = ExpertGroup(2, hidden=2, count=2, top_k=1)
    group.router.weight.data = torch.eye(2)
    inputs = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])  # logsumexp: ln 2 and ln 4
    assert group(inputs).z.item() == pytest.approx((math.log(2) ** 2 + math.log(4) ** 2) / 2)


def test_losses_pull_where_they_should():
    """A step against the balance evens the load out; a step against z makes the logits smaller."""
    torch.manual_seed(0)
    for loss, measure in (("balance", lambda r: r.balance), ("z", lambda r: r.z)):
        group = ExpertGroup(6, hidden=2, count=4, top_k=2)
        inputs = tokens_of(64) + 1
        before = measure(group(inputs))
        getattr(group(inputs), loss).backward()
        group.router.weight.data -= 0.05 * group.router.weight.grad
        assert measure(group(inputs)) < before


@pytest.mark.parametrize("top_k", [2, 4])
def test_every_expert_and_the_router_get_gradient(top_k):
    torch.manual_seed(0)
    group = ExpertGroup(6, hidden=3, count=4, top_k=top_k)
    routed = group(tokens_of(64))
    assert (routed.usage > 0).all()
    routed.tokens.square().sum().backward()
    for name, parameter in group.named_parameters():
        assert (parameter.grad.flatten(1).abs().sum(1) > 0).all(), name


def test_initial_experts_differ_and_keep_the_scale_of_their_input():
    torch.manual_seed(0)
    group = ExpertGroup(64, hidden=32, count=4, top_k=2)
    assert not torch.allclose(group.w_in[0], group.w_in[1])
    assert group.w_in.abs().max().item() == pytest.approx(64**-0.5, rel=0.02)
    assert group.w_out.abs().max().item() == pytest.approx(32**-0.5, rel=0.02)


@pytest.mark.parametrize("top_k", [0, 4, -1])
def test_top_k_out_of_range_is_an_error_that_names_it(top_k):
    with pytest.raises(ValueError, match=rf"top_k.*3.*found {top_k}"):
        ExpertGroup(6, hidden=2, count=3, top_k=top_k)


@pytest.fixture
def mixture(shake):
    return shake(HierarchicalMixture(6, hidden=3, count=3, top_k=2))


@pytest.fixture
def batch(make_batch):
    # Both, both, text only, vision only, neither.
    return make_batch((3, 2, 4, 0, 0), (2, 4, 0, 3, 0), extra=1, widths=(6, 6))


def test_hierarchy_against_a_loop_over_samples(mixture, batch, plain_group, arrays, layer_norm, softmax):
    found = mixture(*batch)
    w = arrays(mixture)
    groups = {
        g: {k.removeprefix(f"groups.{g}."): v for k, v in w.items() if k.startswith(f"groups.{g}.")}
        for g in ("text", "vision", "shared")
    }
    normed = {"text": [], "vision": [], "shared": []}  # every real token that each group reads
    all_shares, both = [], []
    for b in range(5):
        tokens = {m: getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy() for m in ("text", "vision")}
        h = {m: layer_norm(t, w[f"norms.{m}.weight"], w[f"norms.{m}.bias"]) for m, t in tokens.items()}
        here = {m: len(t) > 0 for m, t in tokens.items()}
        pooled = [h[m].mean(0) if here[m] else np.zeros(6) for m in h]
        logits = w["router.weight"] @ np.concatenate([*pooled, [here["text"], here["vision"]]]) + w["router.bias"]
        open_groups = [here["text"], here["vision"], True]
        shares = np.zeros(3)
        shares[open_groups] = softmax(logits[open_groups])
        np.testing.assert_allclose(found.shares[b].detach(), shares, atol=1e-5)
        all_shares.append(shares)
        both.append(all(here.values()))
        for index, m in enumerate(h):
            own = plain_group(groups[m], h[m], 2)[0]
            shared = plain_group(groups["shared"], h[m], 2)[0]
            expected = tokens[m] + shares[index] * own + shares[2] * shared
            np.testing.assert_allclose(getattr(found, m)[b, : len(expected)].detach(), expected, atol=1e-5)
            normed[m].append(h[m])
            normed["shared"].append(h[m])
    stats = {g: plain_group(groups[g], np.concatenate(rows), 2) for g, rows in normed.items()}
    for g, (_, usage, _, _) in stats.items():
        np.testing.assert_allclose(found.usage[g], usage, atol=1e-6)
    assert found.losses["balance"].item() == pytest.approx(sum(s[2] for s in stats.values()), rel=1e-5)
    assert found.losses["z"].item() == pytest.approx(sum(s[3] for s in stats.values()), rel=1e-5)
    mean = np.mean([s for s, keep in zip(all_shares, both, strict=True) if keep], 0)
    assert found.losses["group"].item() == pytest.approx(np.var(mean) / np.mean(mean) ** 2, abs=1e-5)


def test_shares_of_an_absent_modality_are_exactly_zero(mixture, batch):
    shares = mixture(*batch).shares
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    assert (shares == 0).tolist() == [
        [False, False, False],
        [False, False, False],
        [False, True, False],
        [True, False, False],
        [True, True, False],
    ]
    assert shares[4, 2] == 1


def test_shares_are_decided_for_each_sample(mixture, batch):
    shares = mixture(*batch).shares
    assert not torch.allclose(shares[0], shares[1], atol=1e-3)


def test_group_loss_is_zero_for_even_shares_and_for_lone_modalities(mixture, make_batch):
    alone = make_batch((3, 0), (0, 3), widths=(6, 6))
    assert mixture(*alone).losses["group"].item() == 0
    both = make_batch((3, 2), (1, 3), widths=(6, 6))
    assert mixture(*both).losses["group"].item() > 1e-4
    torch.nn.init.zeros_(mixture.router.weight)
    torch.nn.init.zeros_(mixture.router.bias)
    assert mixture(*both).losses["group"].item() == pytest.approx(0, abs=1e-6)


def test_losses_do_not_count_padding(mixture, make_batch):
    short, long = (make_batch((3, 1), (1, 4), widths=(6, 6), extra=extra, fill=9.0) for extra in (0, 5))
    found, padded = mixture(*short), mixture(*long)
    for name, loss in found.losses.items():
        torch.testing.assert_close(padded.losses[name], loss)


def test_shared_experts_read_both_modalities(mixture, batch):
    seen = []
    mixture.groups["shared"].register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    mixture(*batch)
    assert seen == [9 + 9]


def test_hierarchy_passes_its_settings_on_to_every_group():
    mixture = HierarchicalMixture(6, hidden=3, count=5, top_k=4)
    assert list(mixture.groups) == ["text", "vision", "shared"]
    for group in mixture.groups.values():
        assert (group.count, group.top_k, group.w_in.shape) == (5, 4, (5, 6, 6))


@pytest.mark.parametrize("learned", [True, False])
def test_a_router_that_is_not_learned_routes_all_the_same(shake, learned):
    """The same weights give the same tokens and losses; but nothing learns from them where tokens go."""
    group = shake(ExpertGroup(6, hidden=3, count=4, top_k=2, learned_router=learned))
    plain = shake(ExpertGroup(6, hidden=3, count=4, top_k=2))
    tokens = tokens_of(64).requires_grad_()
    routed = group(tokens)
    assert all(torch.equal(value, wanted) for value, wanted in zip(routed, plain(tokens_of(64)), strict=True))
    assert all(value.requires_grad is learned for value in (routed.gates, routed.balance, routed.z))
    (routed.tokens.square().sum() + routed.balance + routed.z).backward()
    gradients = {name: parameter.grad for name, parameter in group.named_parameters()}
    assert (gradients.pop("router.weight") is not None) is learned
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())
    assert tokens.grad.abs().sum() > 0, "through the experts"


def test_without_the_sample_level_the_usable_groups_have_equal_shares(batch):
    mixture = HierarchicalMixture(6, hidden=3, count=3, top_k=2, sample_level=False)
    third, half = 1 / 3, 1 / 2
    expected = [[third] * 3, [third] * 3, [half, 0, half], [0, half, half], [0, 0, 1]]
    torch.testing.assert_close(mixture(*batch).shares, torch.tensor(expected))


def test_without_a_shared_group_two_groups_divide_the_whole(shake, batch, plain_group, arrays, layer_norm, softmax):
    mixture = shake(HierarchicalMixture(6, hidden=3, count=3, top_k=2, shared_group=False))
    found, w = mixture(*batch), arrays(mixture)
    assert list(mixture.groups) == list(found.usage) == ["text", "vision"]
    normed = {"text": [], "vision": []}
    shares = []
    for b in range(5):
        tokens = {m: getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy() for m in normed}
        h = {m: layer_norm(t, w[f"norms.{m}.weight"], w[f"norms.{m}.bias"]) for m, t in tokens.items()}
        here = [len(t) > 0 for t in tokens.values()]
        pooled = [x.mean(0) if len(x) else np.zeros(6) for x in h.values()]
        logits = (w["router.weight"] @ np.concatenate([*pooled, here]) + w["router.bias"])[:2]
        share = np.zeros(2)
        share[here] = softmax(logits[here]) if any(here) else []
        shares.append(share)
        for index, m in enumerate(normed):
            own = {k.removeprefix(f"groups.{m}."): v for k, v in w.items() if k.startswith(f"groups.{m}.")}
            expected = tokens[m] + share[index] * plain_group(own, h[m], 2)[0]
            np.testing.assert_allclose(getattr(found, m)[b, : len(expected)].detach(), expected, atol=1e-5)
            normed[m].append(h[m])
    np.testing.assert_allclose(found.shares[:, :2].detach(), shares, atol=1e-6)
    # The share of the group that is not there is 0, but for a sample with nothing in it, where it is worth nothing.
    assert found.shares[:, 2].tolist() == [0, 0, 0, 0, 1]
    mean = np.mean(shares[:2], 0)
    assert found.losses["group"].item() == pytest.approx(np.var(mean) / np.mean(mean) ** 2, abs=1e-5)


def test_the_flat_mixture_is_one_group_for_all_tokens(shake, batch, plain_group, arrays, layer_norm):
    mixture = shake(FlatMixture(6, hidden=3, count=9, top_k=2))
    found, w = mixture(*batch), arrays(mixture)
    group = {k.removeprefix("group."): v for k, v in w.items() if k.startswith("group.")}
    read = []
    for m in ("text", "vision"):
        for b in range(5):
            tokens = getattr(batch, m)[b][getattr(batch, f"{m}_mask")[b]].double().numpy()
            h = layer_norm(tokens, w[f"norms.{m}.weight"], w[f"norms.{m}.bias"])
            result = getattr(found, m)[b].detach()
            np.testing.assert_allclose(result[: len(h)], tokens + plain_group(group, h, 2)[0], atol=1e-5)
            assert torch.equal(result[len(h) :], getattr(batch, m)[b, len(h) :])
            read.append(h)
    _, usage, balance, z = plain_group(group, np.concatenate(read), 2)
    np.testing.assert_allclose(found.usage["all"], usage, atol=1e-6)
    assert found.shares is None
    assert {name: loss.item() for name, loss in found.losses.items()} == pytest.approx({"balance": balance, "z": z})


def test_one_expert_has_nothing_to_route_or_to_balance(batch):
    mixture = FlatMixture(6, hidden=3, count=1, top_k=1)
    assert mixture(*batch).losses == {}
    assert not mixture.group.router.weight.requires_grad
    assert FlatMixture(6, hidden=3, count=2, top_k=1).group.router.weight.requires_grad
