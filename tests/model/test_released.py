"""The released model, step by step against plain numpy, on weights read from a checkpoint in the released naming."""

import numpy as np
import pytest
import torch

from gexsent.model import Batch, Released, load_released
from gexsent.model.released import fit_length


@pytest.fixture(scope="module")
def checkpoint(released_state, tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / "best.pt"
    torch.save(released_state, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_released(checkpoint)


@pytest.fixture(scope="module")
def batch(make_batch):
    """A long clip with a long text (both are cut), a short one with a short text (both are padded)."""
    return make_batch((30, 5), (380, 7), widths=(768, 35), fill=3.0)


class Oracle:
    """The released computation, in float64 and one step at a time. Every step's result is kept by name.

    Each flag mends one fault; with padding masked a sample is computed at its own length.
    """

    def __init__(self, state, softmax, layer_norm, *, live=False, masked=False, tokens=24, renormalise=False):
        self.w = {name: value.double().numpy() for name, value in state.items()}
        self.softmax, self.layer_norm = softmax, layer_norm
        self.live, self.masked, self.tokens, self.renormalise = live, masked, tokens, renormalise

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def lstm(self, sequence, layer):
        w_ih, w_hh, b_ih, b_hh = (
            self.w[f"image_encoder.lstm.{part}_l{layer}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h, c, steps = np.zeros(128), np.zeros(128), []
        for x in sequence:
            i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
            steps.append(h)
        return np.stack(steps)

    def experts(self, name, tokens):
        results = []
        for x in tokens:
            weights = self.softmax(self.linear(f"{name}.gate", x))
            top = np.argsort(-weights)[:2]
            weights = weights / weights[top].sum() if self.renormalise else weights
            results.append(sum(weights[i] * self.linear(f"{name}.expert_nets.{i}", x) for i in top))
        return np.stack(results)

    def self_attention(self, x):
        parts = np.split(x @ self.w["mha.in_proj_weight"].T + self.w["mha.in_proj_bias"], 3, axis=1)
        heads = zip(*(np.split(part, 8, axis=1) for part in parts), strict=True)
        mixed = [self.softmax(q @ k.T / np.sqrt(64)) @ v for q, k, v in heads]
        return self.linear("mha.out_proj", np.concatenate(mixed, 1))

    def gate(self, own, other, norm, mlp):
        enhanced = own + self.softmax(own @ other.T / 0.1) @ other
        normed = self.layer_norm(
            enhanced, self.w[f"cross_attention.{norm}.weight"], self.w[f"cross_attention.{norm}.bias"]
        )
        scores = self.linear(f"cross_attention.{mlp}", normed)
        gate = 1 / (1 + np.exp(-scores)) if self.live else self.softmax(scores)
        return normed, scores, gate.mean(1, keepdims=True)

    def block(self, x, gate):
        q, k, v = (self.linear(f"modified_attn_block.linear_{letter}", x) for letter in "qkv")
        return self.softmax((q * gate) @ (k * gate).T / np.sqrt(512)) @ v

    def __call__(self, text, frames, length):
        """Real text tokens (L, 768) and real frames (F, 35) of one sample; `length` visual positions."""
        text, vision = self.fit(text, self.tokens), self.fit(frames, length)
        steps = {"image_encoder": self.linear("image_encoder.fc", self.lstm(self.lstm(vision, 0), 1))}
        vision = steps["experts_image"] = self.experts("experts_image", steps["image_encoder"])
        text = steps["experts_text"] = self.experts("experts_text", text)
        first_norm, first, vision_gate = self.gate(vision, text, "enhance_layer_tg", "mlp_e1")
        second_norm, second, text_gate = self.gate(text, vision, "enhance_layer_ig", "mlp_e2")
        steps |= {
            "cross_attention.enhance_layer_tg": first_norm,
            "cross_attention.enhance_layer_ig": second_norm,
            "cross_attention.mlp_e1": first,
            "cross_attention.mlp_e2": second,
        }
        vision, text = self.self_attention(vision), self.self_attention(text)
        steps["mha"] = [vision, text]
        vision, text = self.block(vision, vision_gate), self.block(text, text_gate)
        steps["modified_attn_block"] = [vision, text]
        steps["classifier"] = self.linear("classifier", np.concatenate([vision, text]).mean(0))
        return steps, vision_gate, text_gate

    def fit(self, tokens, length):
        if self.masked and len(tokens):
            return tokens[:length]
        return np.pad(tokens[:length], ((0, max(0, length - len(tokens))), (0, 0)))


@pytest.fixture(scope="module")
def expected(released_state, batch, softmax, layer_norm):
    oracle = Oracle(released_state, softmax, layer_norm)
    return [
        oracle(text[mask].double().numpy(), vision[seen].double().numpy(), 370)
        for text, mask, vision, seen in zip(*batch, strict=True)
    ]


def test_every_step_against_plain_numpy(checkpoint, batch, expected):
    """In float64, where rounding cannot hide a difference behind the sharp softmax of the gate."""
    model = load_released(checkpoint).double()
    found = {}

    def keep(name):
        return lambda _, args, result: found.setdefault(name, []).append(
            (result[0] if isinstance(result, tuple) else result).detach().numpy()
        )

    for name in expected[0][0]:
        model.get_submodule(name).register_forward_hook(keep(name))
    model(Batch(batch.text.double(), batch.text_mask, batch.vision.double(), batch.vision_mask))
    for b, (steps, _, _) in enumerate(expected):
        for name, wanted in steps.items():
            calls = wanted if isinstance(wanted, list) else [wanted]
            assert len(found[name]) == len(calls), name
            for call, value in zip(found[name], calls, strict=True):
                np.testing.assert_allclose(call[b], value, atol=1e-8, err_msg=f"{name}, sample {b}")


def test_a_checkpoint_in_the_released_naming_gives_the_same_logits(model, batch, expected):
    logits = model(batch).heads["sentiment"].detach().numpy()
    wanted = np.stack([steps["classifier"] for steps, _, _ in expected])
    np.testing.assert_allclose(logits, wanted, atol=1e-5)
    assert (
        np.abs(wanted[0] - wanted[1]).max() > 1e-3
    )  # the two samples are told apart, so that equality means something


def test_the_gate_is_a_tenth_for_every_token(model, batch, expected):
    gates = model(batch).gates
    assert gates["vision"].shape == (2, 370)
    assert gates["text"].shape == (2, 24)
    for gate in gates.values():
        torch.testing.assert_close(gate, torch.full_like(gate, 0.1), atol=1e-6, rtol=0)
    for _, vision_gate, text_gate in expected:
        np.testing.assert_allclose(vision_gate, 0.1, atol=1e-12)
        np.testing.assert_allclose(text_gate, 0.1, atol=1e-12)


def test_trainable_parameters_and_names(model, released_shapes):
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == released_shapes
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == pytest.approx(10.1e6, rel=0.01)


def test_a_loaded_model_is_ready_to_score(model):
    assert not model.training
    assert model.frames == 370
    assert model.outputs == {"sentiment": 3}


def test_task_names_the_head(checkpoint, make_batch):
    short = make_batch((2,), (3,), widths=(768, 35))
    assert list(load_released(checkpoint, task="mosei")(short).heads) == ["mosei"]


@pytest.fixture(scope="module")
def small(shake):
    # Larger weights than a fresh model's, so that one frame among many positions shows in the scores.
    return shake(Released(text_features=6, vision_features=5, outputs={"a": 3, "b": 1}, frames=4), scale=0.1).eval()


def test_outputs_are_read_from_one_classifier_in_order(small, make_batch):
    seen = []
    handle = small.classifier.register_forward_hook(lambda _, args, result: seen.append(result))
    heads = small(make_batch()).heads
    handle.remove()
    assert torch.equal(heads["a"], seen[0][:, :3])
    assert torch.equal(heads["b"], seen[0][:, 3:])


def test_text_beyond_24_tokens_and_frames_beyond_the_limit_are_cut(small, make_batch):
    batch = make_batch((30, 24), (9, 4))
    plain = small(batch).heads["a"]
    late_text, late_frames = batch.text.clone(), batch.vision.clone()
    late_text[:, 24:], late_frames[:, 4:] = 5.0, 5.0
    assert torch.equal(small(batch._replace(text=late_text, vision=late_frames)).heads["a"], plain)
    late_text[:, 23] = 5.0
    assert not torch.allclose(small(batch._replace(text=late_text)).heads["a"], plain, atol=1e-5)
    late_frames[:, 3] = 5.0
    assert not torch.allclose(small(batch._replace(vision=late_frames)).heads["a"], plain, atol=1e-5)


def test_frames_is_the_number_of_visual_positions_and_padding_counts(make_batch):
    batch = make_batch((3, 3), (2, 4))
    scores = []
    for frames in (4, 8):
        torch.manual_seed(0)
        model = Released(text_features=6, vision_features=5, outputs={"a": 3}, frames=frames).eval()
        output = model(batch)
        assert output.gates["vision"].shape == (2, frames)
        scores.append(output.heads["a"])
    assert not torch.allclose(*scores, atol=1e-5)  # padding is averaged in, as in the released code


def test_padding_of_the_batch_and_its_contents_change_nothing(small, make_batch):
    """Sequences are fitted to a fixed length, so that what a sample is batched with cannot matter."""
    plain = small(make_batch((3, 0), (2, 0))).heads["a"]
    padded = small(make_batch((3, 0), (2, 0), extra=5, fill=float("nan"))).heads["a"]
    torch.testing.assert_close(padded, plain)


def test_fit_length_by_hand():
    tokens = torch.tensor([[[1.0], [2.0], [3.0]]])
    mask = torch.tensor([[True, True, False]])
    assert fit_length(tokens, mask, 2).flatten().tolist() == [1, 2]
    assert fit_length(tokens, mask, 5).flatten().tolist() == [1, 2, 0, 0, 0]
    assert fit_length(tokens, mask, 3).flatten().tolist() == [1, 2, 0]


def test_dropout_of_a_tenth_on_the_output_of_the_vision_encoder():
    torch.manual_seed(0)
    model = Released(text_features=6, vision_features=5, outputs={"a": 3}, frames=4)
    frames = torch.randn(8, 20, 5)
    assert 0.08 < (model.image_encoder(frames) == 0).float().mean().item() < 0.12
    assert (model.eval().image_encoder(frames) != 0).all()


def test_without_sizes_the_released_ones_are_used():
    assert Released(text_features=6, vision_features=5, outputs={"a": 1}).frames == 370


# As the constructor calls each mended fault, and as the oracle does.
MENDED = {
    "nothing": ({}, {}),
    "gate": ({"live_gate": True}, {"live": True}),
    "padding": ({"mask_padding": True}, {"masked": True}),
    "length": ({"max_tokens": 32}, {"tokens": 32}),
    "weights": ({"renormalise": True}, {"renormalise": True}),
}
MENDED["everything"] = tuple({k: v for pair in MENDED.values() for k, v in pair[i].items()} for i in (0, 1))


@pytest.fixture(scope="module")
def uneven(make_batch):
    """Text and clip that are cut, that are padded, and that are not there."""
    return make_batch((40, 5, 0, 3, 30), (15, 7, 6, 0, 12), widths=(768, 35), fill=3.0)


@pytest.fixture(scope="module")
def mended(released_state, uneven):
    """What the released weights give with a fault mended, in float64 and with 12 visual positions."""
    batch = Batch(uneven.text.double(), uneven.text_mask, uneven.vision.double(), uneven.vision_mask)
    weights = {name: value for name, value in released_state.items() if not name.startswith("text_encoder.")}

    def run(flags):
        model = Released(text_features=768, vision_features=35, outputs={"sentiment": 3}, frames=12, **flags)
        model.load_state_dict(weights)
        return model.double().eval()(batch)

    return run


@pytest.mark.parametrize("fault", MENDED)
def test_each_mended_fault_against_plain_numpy(released_state, uneven, mended, softmax, layer_norm, fault):
    flags, names = MENDED[fault]
    output, oracle = mended(flags), Oracle(released_state, softmax, layer_norm, **names)
    for b, (text, mask, vision, seen) in enumerate(zip(*uneven, strict=True)):
        steps, vision_gate, text_gate = oracle(text[mask].double().numpy(), vision[seen].double().numpy(), 12)
        np.testing.assert_allclose(output.heads["sentiment"][b].detach(), steps["classifier"], atol=1e-8)
        for modality, gate in (("text", text_gate), ("vision", vision_gate)):
            found = output.gates[modality][b, : len(gate)]
            np.testing.assert_allclose(found.detach(), gate[:, 0], atol=1e-8)


@pytest.mark.parametrize("fault", [fault for fault in MENDED if fault != "nothing"])
def test_each_mended_fault_changes_the_scores(mended, fault):
    plain, changed = (mended(MENDED[name][0]).heads["sentiment"] for name in ("nothing", fault))
    assert (plain - changed)[1:].abs().max() > 1e-4
    # The first sample is longer than all positions and has no padding to mask.
    assert torch.allclose(plain[0], changed[0], atol=1e-9) is (fault == "padding")


def test_only_a_live_gate_gates(mended):
    for fault, (flags, _) in MENDED.items():
        gates = torch.cat([gate.flatten() for gate in mended(flags).gates.values()])
        assert bool((gates - 0.1).abs().max() > 1e-3) is (fault in ("gate", "everything")), fault


def test_with_padding_masked_the_number_of_positions_does_not_matter(make_batch):
    batch, scores = make_batch((3, 2), (2, 4)), {}
    for masked in (False, True):
        for frames, tokens in ((4, 24), (9, 30)):
            torch.manual_seed(0)
            model = Released(
                text_features=6,
                vision_features=5,
                outputs={"a": 3},
                frames=frames,
                max_tokens=tokens,
                mask_padding=masked,
            )
            scores[masked, frames] = model.eval()(batch).heads["a"]
    torch.testing.assert_close(scores[True, 4], scores[True, 9])
    assert not torch.allclose(scores[False, 4], scores[False, 9], atol=1e-5)


def test_padding_masked_and_nothing_there_gives_finite_numbers_and_gradients(make_batch):
    model = Released(text_features=6, vision_features=5, outputs={"a": 3}, frames=4, mask_padding=True).eval()
    scores = model(make_batch((0, 3, 0), (0, 0, 2), extra=2, fill=float("nan"))).heads["a"]
    scores.square().sum().backward()
    assert scores.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_shift_adds_to_the_named_part_of_the_classifier(make_batch):
    torch.manual_seed(0)
    model = Released(text_features=6, vision_features=5, outputs={"a": 2, "b": 1, "c": 3}, frames=4).eval()
    batch = make_batch()
    before = model(batch).heads
    model.shift({"c": torch.tensor([1.0, 2, -3]), "a": torch.tensor([0.5, -0.5])})
    after = model(batch).heads
    torch.testing.assert_close(after["a"], before["a"] + torch.tensor([0.5, -0.5]))
    torch.testing.assert_close(after["c"], before["c"] + torch.tensor([1.0, 2, -3]))
    assert torch.equal(after["b"], before["b"])
    assert model.classifier.bias.requires_grad
