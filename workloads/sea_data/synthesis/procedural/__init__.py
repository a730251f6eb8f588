"""Workers that need no model: a domain's `Workshop` writes each task by running its tools.

One file or folder a domain; `workshops` finds them by name.
"""
