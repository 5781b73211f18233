"""The words of the sample, and the rule that makes labels from what is said and what is shown.

t and v in {-2, ..., 2} are the polarity of the words and of the face. The words are turned when the face contradicts
them, which is sarcasm:

    turn = -1 if t * v < 0 else 1
    intensity = 0.6 * (turn * t + v) + noise

Standard library only, so that the tokenizer can know the words without loading anything else.
"""

import random
from dataclasses import dataclass

# Few words, each often: a few hundred rows must suffice to learn what they mean from an encoder that knows nothing.
ADJECTIVES = {
    2: ("wonderful", "superb", "glorious"),
    1: ("pleasant", "decent", "nice"),
    0: ("ordinary", "average", "usual"),
    -1: ("dull", "clumsy", "shabby"),
    -2: ("dreadful", "horrible", "ghastly"),
}
TOPICS = ("soup", "concert", "hotel", "garden", "lecture", "museum", "picnic", "recipe", "painting", "podcast")
OPENERS = ("i think", "so", "well", "honestly", "you know", "to be fair", "as i said", "in short")
SENTENCES = (
    "{opener} the {topic} was {adjective}",
    "{opener} it was {a} {adjective} {topic}",
    "the {topic} felt {adjective} to me",
    "what {a} {adjective} {topic} that was",
    "{opener} i found this {topic} rather {adjective}",
)
JOKES = ((), ("hehe",), ("haha", "lol"), ("hilarious", "rofl"))
INSULTS = ((), ("silly",), ("you", "muppet"), ("you", "utter", "turnip"))
MOTTOES = ((), ("never", "give", "up"))

SCALE = 0.6
NOISE = 0.2
LEVELS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Script:
    """One sample before it is drawn."""

    text: str
    words: int  # t
    face: int  # v
    intensity: float  # in [-3, 3], in steps of 0.2
    humour: int
    sarcasm: int
    offensive: int
    motivational: int

    @property
    def sarcastic(self) -> bool:
        return self.words * self.face < 0


def polarities(rng: random.Random) -> tuple[int, int]:
    """Draw t evenly, then v: one in four contradicts t, one in five is neutral, the others have its sign.

    Where t is neutral so is v in three of five.
    """
    words = rng.choice(LEVELS)
    chance = rng.random()
    if words == 0:
        return words, 0 if chance < 0.6 else rng.choice((-2, -1, 1, 2))
    sign = 1 if words > 0 else -1
    if chance < 0.2:
        return words, 0
    return words, (-sign if chance < 0.45 else sign) * rng.choice((1, 2))


def mean_intensity(words: int, face: int) -> float:
    """The label without its noise."""
    turn = -1 if words * face < 0 else 1
    return SCALE * (turn * words + face)


def write(rng: random.Random) -> Script:
    """Draw one script."""
    words, face = polarities(rng)
    intensity = round((mean_intensity(words, face) + rng.gauss(0, NOISE)) / 0.2) * 0.2
    humour, offensive = (rng.choices(range(4), (4, 3, 2, 1))[0] for _ in range(2))
    motivational = int(rng.random() < 0.35)
    adjective = rng.choice(ADJECTIVES[words])
    sentence = rng.choice(SENTENCES).format(
        opener=rng.choice(OPENERS),
        topic=rng.choice(TOPICS),
        adjective=adjective,
        a="an" if adjective[0] in "aeiou" else "a",
    )
    text = " ".join((sentence, *JOKES[humour], *INSULTS[offensive], *MOTTOES[motivational]))
    sarcasm = max(0, abs(words) + abs(face) - 1) if words * face < 0 else 0
    return Script(
        text=text,
        words=words,
        face=face,
        intensity=round(max(-3.0, min(3.0, intensity)), 1) + 0.0,
        humour=humour,
        sarcasm=sarcasm,
        offensive=offensive,
        motivational=motivational,
    )


def construction(draws: int = 200_000, seed: int = 0) -> dict[str, float]:
    """The mean absolute error of the best possible predictor from the words, the face, or both, and of a constant.

    The best predictor knows the rule and answers with the median of the labels that share what it sees.
    """
    rng = random.Random(seed)
    scripts = []
    for _ in range(draws):
        words, face = polarities(rng)
        scripts.append((words, face, max(-3.0, min(3.0, mean_intensity(words, face) + rng.gauss(0, NOISE)))))
    views = {
        "constant": lambda s: 0,
        "text_only": lambda s: s[0],
        "vision_only": lambda s: s[1],
        "fusion": lambda s: s[:2],
    }
    errors = {}
    for name, view in views.items():
        cells: dict = {}
        for script in scripts:
            cells.setdefault(view(script), []).append(script[2])
        total = 0.0
        for values in cells.values():
            middle = sorted(values)[len(values) // 2]
            total += sum(abs(value - middle) for value in values)
        errors[name] = total / draws
    return errors


def vocabulary() -> list[str]:
    """Every word that a script can hold, sorted."""
    words = {w for group in ADJECTIVES.values() for w in group} | set(TOPICS) | {"a", "an"}
    for phrase in (*OPENERS, *SENTENCES):
        words |= {word for word in phrase.split() if not word.startswith("{")}
    for group in (*JOKES, *INSULTS, *MOTTOES):
        words |= set(group)
    return sorted(words)
