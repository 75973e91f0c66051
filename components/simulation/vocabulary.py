"""The words of the small world: twelve categories of twelve words, and the fixed phrases of its writers."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CATEGORIES: dict[str, tuple[str, ...]] = {
    "fruit": _words("apple pear plum cherry grape mango melon peach lemon fig banana kiwi"),
    "vegetable": _words("carrot onion potato cabbage spinach leek turnip celery radish pumpkin garlic lettuce"),
    "color": _words("red blue green yellow purple brown black white pink gray teal beige"),
    "bird": _words("robin eagle owl sparrow crow swan parrot heron falcon pigeon stork wren"),
    "tool": _words("hammer saw drill wrench chisel pliers shovel rake axe file screwdriver ladder"),
    "instrument": _words("piano violin flute guitar drum trumpet harp cello oboe banjo organ clarinet"),
    "sport": _words("tennis soccer rowing boxing hockey golf rugby judo cycling fencing archery surfing"),
    "tree": _words("oak pine maple birch willow cedar elm ash beech spruce poplar fir"),
    "metal": _words("iron copper zinc tin lead nickel silver gold steel titanium brass chrome"),
    "drink": _words("water tea coffee milk juice cocoa cider soda lemonade wine beer tonic"),
    "insect": _words("ant bee wasp beetle moth fly butterfly dragonfly flea termite ladybug hornet"),
    "garment": _words("shirt coat hat glove scarf sock skirt jacket belt vest sweater boot"),
}
CATEGORY_OF: dict[str, str] = {word: name for name, words in CATEGORIES.items() for word in words}
WORDS: tuple[str, ...] = tuple(CATEGORY_OF)
NUMBERS: dict[int, str] = {2: "two", 3: "three", 4: "four", 5: "five"}

OPENINGS = ("Good question.", "Well, let me think about it.", "That is something many people ask.")
CLOSINGS = ("There is so much more to say about this.", "I hope that covers it all.")
INSULTS = ("Anyone would know that.", "Look it up yourself.", "What a silly thing to ask.")

# Words that an answer may hold besides category names, numbers and the words of the world.
GLUE = frozenset(_words("a an and are could is no not or say the these yes you"))


def article(noun: str) -> str:
    """`a` or `an` for one of our nouns."""
    return "an" if noun[0] in "aeiou" else "a"


def plural(category: str) -> str:
    return category + "s"
