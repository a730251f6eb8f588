"""`retail`: tau2-bench's retail customer service: its 16 tools, its database, its quirks.

Where tau2-bench does something surprising (which variant an item takes over after a modification,
rounding of gift cards), so does this domain, with a comment at the place. Policy, tasks and
database come from the user's own copy of the data.
"""
