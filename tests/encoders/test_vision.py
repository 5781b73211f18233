"""Vision encoders: patches of images, vectors of frames."""

import logging
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from gexsent.encoders import tiny
from gexsent.encoders.vision import VisionEncoder, load_vision_encoder
from gexsent.errors import DataError


def noise(seed, size=(64, 64)):
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    return Image.fromarray(values)


def by_hand(tower, pixels):
    """CLIP's vision transformer written out from its definition: all last states, normed; and the embedding."""
    patches = tower.conv1(pixels).flatten(2).transpose(1, 2)
    first = tower.class_embedding.expand(len(pixels), 1, -1)
    states = tower.ln_pre(torch.cat([first, patches], 1) + tower.positional_embedding)
    for block in tower.transformer.resblocks:
        normed = block.ln_1(states)
        states = states + block.attn(normed, normed, normed, need_weights=False)[0]
        states = states + block.mlp(block.ln_2(states))
    return tower.ln_post(states)


@torch.no_grad()
def test_images_give_the_class_token_then_the_patches_row_by_row(tiny_vision):
    images = [noise(1), noise(2)]
    found = tiny_vision.encode_images(images)
    wanted = by_hand(tiny_vision.tower, torch.stack([tiny_vision.transform(image) for image in images]))
    assert [array.shape for array in found] == [(1 + 4 * 4, tiny_vision.image_width)] * 2
    assert found[0].dtype == np.float16
    np.testing.assert_allclose(np.stack(found), wanted.numpy(), atol=5e-3)


@torch.no_grad()
def test_frames_give_clips_own_embedding(tiny_vision):
    images = [noise(1), noise(2), noise(3)]
    found = tiny_vision.encode_frames(images)
    states = by_hand(tiny_vision.tower, torch.stack([tiny_vision.transform(image) for image in images]))
    pooled = states[:, 1:].mean(1)  # this tower pools its patches
    assert found.shape == (3, tiny_vision.frame_width)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, (pooled @ tiny_vision.tower.proj).numpy(), atol=5e-3)


def test_an_image_alone_is_what_it_is_in_a_batch(tiny_vision):
    images = [noise(seed) for seed in range(4)]
    together = tiny_vision.encode_images(images)
    for image, array in zip(images, together, strict=True):
        np.testing.assert_allclose(tiny_vision.encode_images([image])[0], array, atol=4e-3)


def test_clips_of_unequal_length_in_one_pass_are_what_each_is_alone(tiny_vision):
    clips = [[noise(seed) for seed in range(count)] for count in (1, 3, 2)]
    found = tiny_vision.encode_clips(clips)
    assert [len(frames) for frames in found] == [1, 3, 2]
    for frames, clip in zip(found, clips, strict=True):
        np.testing.assert_allclose(frames, tiny_vision.encode_frames(clip), atol=4e-3)
    assert tiny_vision.encode_clips([]) == []


def test_no_images_no_arrays(tiny_vision):
    assert tiny_vision.encode_images([]) == []


def test_pictures_are_scaled_cropped_in_the_middle_and_normalised(tiny_vision):
    # Red in the middle square of a wide picture, blue at its sides: the crop sees red alone.
    picture = Image.new("RGB", (300, 100), "blue")
    picture.paste((255, 0, 0), (90, 0, 210, 100))
    pixels = tiny_vision.transform(picture)
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    wanted = (np.array([1.0, 0.0, 0.0]) - mean) / deviation
    assert pixels.shape == (3, 64, 64)
    np.testing.assert_allclose(pixels[:, 4:-4, 4:-4].mean((1, 2)), wanted, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA"])
def test_other_colour_modes_are_taken(tiny_vision, mode):
    found = tiny_vision.encode_images([Image.new("RGB", (50, 40), "white").convert(mode)])[0]
    assert np.isfinite(found).all()


def test_frozen_and_in_evaluation_mode():
    tower, transform = tiny.vision()
    encoder = VisionEncoder(tower.train(), transform)
    assert not encoder.tower.training
    assert not any(parameter.requires_grad for parameter in encoder.tower.parameters())


def test_dtype_is_that_asked_for_and_bf16_stays_close(tiny_vision):
    half = load_vision_encoder("tiny-clip", dtype=torch.bfloat16)
    assert {p.dtype for p in half.tower.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in tiny_vision.tower.parameters()} == {torch.float32}
    exact, rough = (e.encode_frames([noise(5)]).astype(float) for e in (tiny_vision, half))
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_device_is_where_the_tower_goes():
    encoder = load_vision_encoder("tiny-clip", device="meta")
    assert {p.device.type for p in encoder.tower.parameters()} == {"meta"}


def test_the_fingerprint_follows_weights_and_transform(tiny_vision):
    same = load_vision_encoder("tiny-clip")
    assert same.fingerprint == tiny_vision.fingerprint
    with torch.no_grad():
        same.tower.proj[0, 0] += 1e-3
    assert same.fingerprint != tiny_vision.fingerprint
    tower, _ = tiny.vision()
    squeezed = open_clip.transform.image_transform((64, 64), is_train=False, resize_mode="squash")
    assert VisionEncoder(tower, squeezed).fingerprint != tiny_vision.fingerprint


def test_an_unknown_architecture_is_named():
    with pytest.raises(DataError, match=r"vision encoder 'ViT-Z-99': open_clip has no such architecture"):
        load_vision_encoder("ViT-Z-99", "openai")


def test_an_architecture_without_patches_is_refused(monkeypatch):
    tower = open_clip.model.ModifiedResNet([1, 1, 1, 1], output_dim=8, heads=1, image_size=32, width=8)
    loaded = SimpleNamespace(visual=tower)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", lambda name, pretrained: (loaded, None, None))
    with pytest.raises(DataError, match="vision encoder 'RN50': not a vision transformer"):
        load_vision_encoder("RN50", "openai")


@pytest.mark.parametrize("weights", [None, ""])
def test_an_architecture_without_weights_is_refused(weights):
    with pytest.raises(DataError, match=r"vision encoder 'ViT-B-32': set encode\.vision_weights"):
        load_vision_encoder("ViT-B-32", weights)


def test_weights_that_cannot_be_had_are_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "disabled", True)  # open_clip says it there as well
    with pytest.raises(DataError) as caught:
        load_vision_encoder("ViT-B-32", "no/such/file.pt")
    assert "vision encoder 'ViT-B-32': weights 'no/such/file.pt' cannot be loaded" in str(caught.value)
    assert "set encode.vision_weights to a checkpoint file" in str(caught.value)
    assert "\n" not in str(caught.value)
