"""What the company of our own worlds sells and its customers carry: plans, phones. Invented."""

PLANS = (
    ("P2001", "Pebble", 3.0, 22.0, 6.0),
    ("P2002", "Brook", 8.0, 34.0, 4.5),
    ("P2003", "River", 20.0, 48.0, 3.0),
    ("P2004", "Delta", 45.0, 66.0, 2.0),
    ("P2005", "Ocean", 999.0, 92.0, 0.5),
)
"""Id, name, data limit (GB), price per month (USD), price per refuelled GB (USD)."""

DEVICES = (
    ("Kestrel 5", "phone", True),
    ("Kestrel 5 Mini", "phone", True),
    ("Lumen A2", "phone", False),
    ("Lumen S9", "phone", True),
    ("Orbit One", "phone", True),
    ("Tern Fold", "phone", True),
    ("Slate 11", "tablet", True),
    ("Slate 8", "tablet", False),
    ("Beacon Home", "router", False),
    ("Wrist 3", "watch", True),
)
"""Model, type, whether it takes an eSIM."""
