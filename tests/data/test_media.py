import threading

import av
import numpy as np
import pytest
from PIL import Image

from gexsent.data.media import ahead, check, digest, open_image, read_frames, to_rgb
from gexsent.errors import DataError


def pixel(path, place=(0, 0)) -> tuple:
    image = open_image(path)
    assert image.mode == "RGB"
    return image.getpixel(place)


def near(found, expected, tolerance=3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


RED = Image.new("RGB", (8, 6), (250, 0, 0))


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "RGBA", "YCbCr"])
def test_colour_modes_become_rgb(tmp_path, mode):
    path = tmp_path / "picture.tif"
    RED.convert(mode).save(
        path, compression="tiff_lzw"
    )  # some releases of Pillow cannot read back what is not compressed
    assert near(pixel(path), (250, 0, 0), tolerance=5)  # the palette's nearest red is 255


def test_cmyk_jpeg(tmp_path):
    RED.convert("CMYK").save(tmp_path / "picture.jpg", quality=95)
    assert near(pixel(tmp_path / "picture.jpg"), (250, 0, 0), tolerance=8)


def test_transparency_is_laid_on_white(tmp_path):
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    half.save(tmp_path / "rgba.png")
    half.convert("LA").save(tmp_path / "la.png")
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    for name in ("rgba.png", "la.png", "p.png"):
        assert pixel(tmp_path / name) == (0, 0, 0)
        assert pixel(tmp_path / name, (1, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 32_896, 65_535]], np.uint16), [0, 128, 255]),
        (np.array([[0, 100, 200]], np.uint16), [0, 0, 0]),  # a dark picture stays dark
        (np.array([[0, 100, 200]], np.int32), [0, 100, 200]),
        (np.array([[0, 32_896, 65_535]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 127, 255]),
        (np.array([[0, 100, 200]], np.float32), [0, 100, 200]),
    ],
    ids=["16 bit", "dark 16 bit", "8 in 32 bit", "16 in 32 bit", "unit floats", "floats"],
)
def test_deep_greys_are_scaled_and_not_clipped(tmp_path, values, expected):
    Image.fromarray(values).save(tmp_path / "grey.tif")
    found = [pixel(tmp_path / "grey.tif", (column, 0)) for column in range(3)]
    assert all(near(a, (b, b, b), 1) for a, b in zip(found, expected, strict=True))


def test_16_bit_png(tmp_path):
    Image.fromarray(np.array([[0, 65_535]], np.uint16)).save(tmp_path / "grey.png")
    assert [pixel(tmp_path / "grey.png", (column, 0))[0] for column in range(2)] == [0, 255]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animations_give_their_first_frame(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
    assert near(pixel(tmp_path / name), (250, 0, 0), tolerance=8)


def test_the_extension_plays_no_part(tmp_path):
    RED.save(tmp_path / "picture.jpg", format="PNG")
    assert pixel(tmp_path / "picture.jpg") == (250, 0, 0)
    RED.save(tmp_path / "picture.txt", format="BMP")
    assert pixel(tmp_path / "picture.txt") == (250, 0, 0)


def test_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise
    RED.save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(tmp_path / "turned.jpg").size == (6, 8)


def test_an_open_picture_is_turned_as_its_file_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    RED.save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as image:
        assert to_rgb(image).size == (6, 8)
    assert RED.size == to_rgb(RED).size == (8, 6)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_truncated_pictures_are_refused(tmp_path, form):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / "whole", format=form)
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut: (damaged|not a) picture"):
        open_image(tmp_path / "cut")
    with pytest.raises(DataError, match="cut: "):
        check(tmp_path / "cut", "image")


def test_files_that_are_no_picture_are_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "page.jpg").write_text("<html>404 not found</html>")
    for name, message in (
        ("empty.png", "the file is empty"),
        ("page.jpg", "not a picture"),
        ("none.png", "there is no such file"),
    ):
        with pytest.raises(DataError, match=rf"{name}: {message}"):
            open_image(tmp_path / name)


@pytest.mark.parametrize("size", [(20_000, 2), (2, 20_000), (8_000, 8_000)])
def test_huge_pictures_are_refused_before_decoding(tmp_path, size):
    Image.new("1", size).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=rf"wide\.png: {size[0]}x{size[1]} pixels is too large; scale it down"):
        open_image(tmp_path / "wide.png")


def test_a_long_narrow_picture_within_the_limits_is_read(tmp_path):
    Image.new("1", (16_384, 2)).save(tmp_path / "wide.png")
    assert open_image(tmp_path / "wide.png").size == (16_384, 2)


def clip(path, greys, **options):
    """A clip with a frame of noise about each grey: noise makes the frames, not the headers, fill the file."""
    noise = np.random.default_rng(0).integers(-30, 31, (32, 32, 1))
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", 1, 2_000_000
        for grey in greys:
            pixels = np.repeat(grey + noise, 3, axis=2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def greys(images) -> list[float]:
    return [float(np.asarray(image).mean()) for image in images]


def test_frames_stand_in_the_middle_of_equal_parts(tmp_path):
    path = clip(tmp_path / "c.mp4", range(30, 210, 15))
    images, times = read_frames(path, 3)  # of frames 0 to 11: 2, 6 and 10
    assert near(greys(images), (60, 120, 180), tolerance=6)
    assert times == pytest.approx([0.2, 0.6, 1.0], abs=1e-6)
    assert len(read_frames(path, 1)[0]) == 1


def test_a_short_clip_gives_each_frame_once(tmp_path):
    images, _ = read_frames(clip(tmp_path / "c.mp4", [40, 200]), 8)
    assert near(greys(images), (40, 200), tolerance=6)


def test_a_clip_of_one_frame_gives_that_frame(tmp_path):
    path = clip(tmp_path / "c.mp4", [120])
    images, times = read_frames(path, 8)
    assert near(greys(images), (120,), tolerance=6)
    assert times == [0.0]
    check(path, "clip")


def test_a_clip_cut_short_gives_what_it_has(tmp_path):
    # `faststart` puts the index of an mp4 first, as files for the web have it
    path = clip(tmp_path / "c.mp4", range(40, 160, 5), options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    images, _ = read_frames(path, 24)
    assert 5 <= len(images) < 24
    assert near(greys(images[:3]), (40, 45, 50), tolerance=4)


def test_a_clip_cut_before_its_index_is_refused(tmp_path):
    path = clip(tmp_path / "c.mp4", range(40, 160, 5))  # an mp4 has its index at the end
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (lambda: read_frames(path, 4), lambda: check(path, "clip")):
        with pytest.raises(DataError, match=r"c\.mp4: not a video that can be decoded: ") as caught:
            read()
        assert str(caught.value).count(str(path)) == 1


def test_a_file_without_video_stream_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for read in (lambda: read_frames(path, 4), lambda: check(path, "clip")):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value) == f"{path}: there is no video stream in this file"


def test_files_that_are_no_clip_are_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "page.mp4").write_text("<html>404 not found</html>")
    for name, message in (
        ("empty.mp4", "the file is empty"),
        ("page.mp4", "not a video that can be decoded"),
        ("none.mp4", "there is no such file"),
    ):
        for read in (read_frames, check):
            with pytest.raises(DataError, match=rf"{name}: {message}"):
                read(tmp_path / name, 4 if read is read_frames else "clip")


def test_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_next_is_loaded_while_the_caller_works_with_this_one():
    loaded = {name: threading.Event() for name in "abc"}

    def load(name):
        loaded[name].set()
        return name.upper()

    seen = []
    for item in ahead(load, "abc"):
        seen.append(item)
        coming = "abc"[len(seen) : len(seen) + 1]
        assert not coming or loaded[coming].wait(timeout=60)  # although nobody has asked for it yet
    assert seen == ["A", "B", "C"]
    assert list(ahead(load, "")) == []


def test_what_cannot_be_loaded_ends_the_loop_in_its_turn():
    seen = []
    with pytest.raises(ZeroDivisionError):
        for item in ahead(lambda number: 1 / number, [1, 2, 0, 3]):
            seen.append(item)
    assert seen == [1, 0.5]
