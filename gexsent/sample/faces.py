"""A face whose mouth and brows show a polarity, drawn large and scaled down for smooth lines."""

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

OVERSAMPLE = 3
SKINS = ("#f2c9a0", "#e0ac7e", "#c68642", "#8d5524", "#ffdbac", "#a56b46")
BACKGROUNDS = ("#cfe3f1", "#e6dcc8", "#d9ead3", "#ead7e6", "#dddddd", "#f4e3c1")
SHIRTS = ("#3b6ea5", "#a53b3b", "#4f8a4f", "#6b4f8a", "#8a6d3b", "#444444")
INK = "#3a2a20"


@dataclass(frozen=True)
class Person:
    """What stays the same through a video."""

    skin: str
    background: str
    shirt: str

    @classmethod
    def draw_lots(cls, rng: random.Random) -> "Person":
        return cls(rng.choice(SKINS), rng.choice(BACKGROUNDS), rng.choice(SHIRTS))


def draw(person: Person, expression: float, size: int, *, shift: tuple[float, float] = (0, 0)) -> Image.Image:
    """A face of `size` pixels a side; expression from -1 (unhappy) to 1 (happy); shift in shares of the size."""
    side = size * OVERSAMPLE
    image = Image.new("RGB", (side, side), person.background)
    pen = ImageDraw.Draw(image)
    x0, y0 = side * (0.5 + shift[0]), side * (0.47 + shift[1])

    def box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        cx, cy = x0 + x * side, y0 + y * side
        return cx - width * side / 2, cy - height * side / 2, cx + width * side / 2, cy + height * side / 2

    pen.rounded_rectangle(box(0, 0.62, 0.9, 0.5), side * 0.18, fill=person.shirt)
    pen.ellipse(box(0, 0, 0.68, 0.8), fill=person.skin)
    line = max(2, round(side * 0.03))
    for sign in (-1, 1):
        openness = 0.09 + 0.03 * expression
        pen.ellipse(box(sign * 0.15, -0.1, 0.12, openness), fill="white")
        pen.ellipse(box(sign * 0.15, -0.1, 0.06, 0.06), fill=INK)
        # Both brows rise when pleased; when unhappy their inner ends rise and their outer ends fall.
        inner, outer = -0.2 - 0.05 * abs(expression), -0.2 - 0.05 * expression
        ends = [(x0 + sign * 0.07 * side, y0 + inner * side), (x0 + sign * 0.24 * side, y0 + outer * side)]
        pen.line(ends, fill=INK, width=line)
    pen.arc(box(0, 0.03, 0.07, 0.1), 20, 160, fill=INK, width=line // 2)
    _mouth(pen, x0, y0 + 0.2 * side, side, expression, line)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _mouth(pen: ImageDraw.ImageDraw, x: float, y: float, side: int, expression: float, line: int) -> None:
    width, depth = 0.17 * side, 0.13 * side * expression
    points = [(x + width * u / 10, y + depth * (1 - (u / 10) ** 2) - depth / 2) for u in range(-10, 11)]
    if expression > 0.6:  # a laughing mouth is open
        pen.polygon(points, fill="#8c2f2f")
    pen.line(points, fill=INK, width=line, joint="curve")
