"""What is read from the model must be what the model does: the weights, put back in, give what its modules pass on."""

import pytest
import torch

from gexsent.explain.trace import OTHER, trace
from gexsent.model.rows import Rows


def passed(model, batch, names):
    """{name: (inputs, output)} of submodules in one forward pass."""
    kept = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _, inputs, out, name=name: kept.update({name: (inputs, out)})
        )
        for name in names
    ]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return kept


def masks_of(batch):
    return {"text": batch.text_mask, "vision": batch.vision_mask}


def test_pooling_weights_pool_the_tokens_as_the_model_does(model, batch):
    seen = trace(model, batch)
    kept = passed(model, batch, [f"pools.{m}" for m in OTHER])
    for m in OTHER:
        (tokens, *_), pooled = kept[f"pools.{m}"]
        again = torch.einsum("bl,bld->bd", seen.pool[m], tokens)
        torch.testing.assert_close(again, pooled, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(seen.pool[m].sum(1), masks_of(batch)[m].any(1).float())


def test_attention_weights_are_those_that_mix_the_values(make_model, batch):
    """With one head the mean over heads is the head, so that weights times values is what the block passes on."""
    model = make_model(attention_heads=1)
    seen = trace(model, batch)
    for m, other in OTHER.items():
        name = f"attention.{m}"
        kept = passed(
            model, batch, [f"{name}.query_key_value", f"{name}.out", f"{name}.cross.key_value", f"{name}.cross.out"]
        )
        mask = masks_of(batch)[m]
        rows, others = Rows(mask), Rows(masks_of(batch)[other])
        value = rows.pad(kept[f"{name}.query_key_value"][1]).chunk(3, -1)[2]
        mixed = rows.pad(kept[f"{name}.out"][0][0])
        torch.testing.assert_close((seen.attention[m] @ value)[mask], mixed[mask], atol=1e-5, rtol=1e-4)
        value = others.pad(kept[f"{name}.cross.key_value"][1][1:]).chunk(2, -1)[1]
        mixed = rows.pad(kept[f"{name}.cross.out"][0][0])
        both = mask & masks_of(batch)[other].any(1, keepdim=True)
        torch.testing.assert_close((seen.cross[m] @ value)[both], mixed[both], atol=1e-5, rtol=1e-4)
        assert not seen.cross[m][~both].any()


def test_routes_are_the_best_experts_of_each_token_in_the_order_of_the_model(model, batch):
    seen = trace(model, batch)
    masks = masks_of(batch)
    names = [f"experts.groups.{group}" for group in model.experts.groups]
    for name, (inputs, _) in passed(model, batch, names).items():
        group, tokens, key = model.get_submodule(name), inputs[0], name.split(".")[-1]
        parts = seen.experts[key].split([masks[m].shape[1] for m in masks if key in (m, "shared")], 1)
        shown = [mask for m, mask in masks.items() if key in (m, "shared")]
        packed = torch.cat(
            [part[mask] for part, mask in zip(parts, shown, strict=True)]
        )  # as the model packs its tokens
        probability = group.router(tokens).softmax(-1)
        for gates, expected in zip(packed.tolist(), probability.tolist(), strict=True):
            best = sorted(range(len(expected)), key=lambda expert: -expected[expert])[: group.top_k]
            kept = sum(expected[expert] for expert in best)
            assert gates == pytest.approx([p / kept if e in best else 0 for e, p in enumerate(expected)], abs=1e-5)
    assert (seen.experts["text"].sum(-1) > 0).equal(batch.text_mask)
    assert (seen.experts["shared"].sum(-1) > 0).equal(torch.cat([batch.text_mask, batch.vision_mask], 1))


def test_hooks_are_gone_afterwards(model, batch):
    trace(model, batch)
    assert not any(module._forward_hooks for module in model.modules())
