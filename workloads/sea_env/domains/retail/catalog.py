"""What the shop of our own retail worlds sells: 40 products, their options, prices in USD."""

Options = dict[str, tuple[str, ...]]

_COLOURS = ("slate", "moss", "ochre", "ivory", "navy")
_SIZES = ("S", "M", "L", "XL")
_WOODS = ("oak", "walnut", "ash")
_METALS = ("steel", "brass", "copper")
_VOLUMES = ("0.5 l", "1 l", "1.5 l")

CATALOG: tuple[tuple[str, int, Options], ...] = (
    ("Field Lantern", 42, {"finish": _METALS, "power": ("battery", "solar", "USB")}),
    ("Rain Cape", 78, {"colour": _COLOURS, "size": _SIZES}),
    ("Bread Knife", 36, {"handle": _WOODS, "length": ("20 cm", "24 cm")}),
    ("Reading Chair", 340, {"fabric": ("linen", "wool", "velvet"), "colour": _COLOURS}),
    ("Bicycle Bell", 18, {"finish": _METALS, "tone": ("high", "low")}),
    ("Travel Kettle", 49, {"volume": _VOLUMES, "colour": _COLOURS}),
    ("Wool Blanket", 95, {"colour": _COLOURS, "size": ("single", "double")}),
    ("Trail Shoes", 128, {"size": ("38", "40", "42", "44"), "sole": ("soft", "grip")}),
    ("Desk Organiser", 54, {"wood": _WOODS, "drawers": ("2", "4", "6")}),
    ("Pocket Radio", 65, {"band": ("FM", "FM and AM"), "colour": _COLOURS}),
    ("Garden Shears", 44, {"blade": ("straight", "curved"), "length": ("18 cm", "26 cm")}),
    ("Stove Pot", 72, {"volume": ("2 l", "4 l", "6 l"), "finish": _METALS}),
    ("Canvas Rucksack", 110, {"colour": _COLOURS, "capacity": ("18 l", "26 l", "34 l")}),
    ("Wall Mirror", 150, {"frame": _WOODS, "shape": ("round", "square", "arched")}),
    ("Chess Set", 88, {"wood": _WOODS, "board": ("folding", "fixed")}),
    ("Hand Grinder", 59, {"finish": _METALS, "burr": ("ceramic", "steel")}),
    ("Picnic Hamper", 84, {"persons": ("2", "4", "6"), "lining": ("striped", "plain")}),
    ("Night Light", 27, {"shape": ("moon", "owl", "cloud"), "light": ("warm", "dimmable")}),
    ("Drawing Board", 61, {"format": ("A4", "A3", "A2"), "wood": _WOODS}),
    ("Swim Goggles", 24, {"lens": ("clear", "tinted"), "fit": ("narrow", "wide")}),
    ("Yarn Box", 39, {"fibre": ("wool", "cotton", "alpaca"), "colour": _COLOURS}),
    ("Barometer", 132, {"finish": _METALS, "scale": ("hPa", "inHg")}),
    ("Camp Stool", 47, {"colour": _COLOURS, "height": ("30 cm", "42 cm")}),
    ("Tea Canister", 22, {"finish": _METALS, "volume": _VOLUMES}),
    ("Rowing Gloves", 33, {"size": _SIZES, "palm": ("leather", "rubber")}),
    ("Standing Lamp", 118, {"shade": ("paper", "linen"), "wood": _WOODS}),
    ("Door Mat", 29, {"size": ("40x60 cm", "60x90 cm"), "fibre": ("coir", "rubber")}),
    ("Sketch Pens", 31, {"set": ("6", "12", "24"), "tip": ("fine", "brush")}),
    ("Seed Tray", 26, {"cells": ("12", "24", "48"), "lid": ("with lid", "without lid")}),
    ("Violin Rest", 45, {"size": ("1/2", "3/4", "4/4"), "wood": _WOODS}),
    ("Ferry Clock", 97, {"finish": _METALS, "dial": ("roman", "arabic")}),
    ("Linen Apron", 41, {"colour": _COLOURS, "pockets": ("1", "3")}),
    ("Telescope", 410, {"aperture": ("70 mm", "90 mm", "114 mm"), "mount": ("tripod", "table")}),
    ("Step Ladder", 86, {"steps": ("3", "5"), "wood": _WOODS}),
    ("Honey Jar Set", 34, {"jars": ("3", "6"), "lid": ("cork", "steel")}),
    ("Map Tube", 28, {"colour": _COLOURS, "length": ("60 cm", "90 cm")}),
    ("Sauna Towel", 52, {"colour": _COLOURS, "weight": ("light", "heavy")}),
    ("Workbench", 285, {"wood": _WOODS, "vice": ("one vice", "two vices")}),
    ("Bird Feeder", 37, {"roof": ("slate", "wood"), "stand": ("hanging", "post")}),
    ("Storm Jacket", 205, {"colour": _COLOURS, "size": _SIZES}),
)
"""(name, price of the plainest variant, options and their values)."""
