"""`telecom`: tau2-bench's phone company: desk and customer's phone, each with its own database.

The agent works on customers, lines, bills; the user on a phone and what surrounds it. After each
call that wrote, `sync` carries over what one side means to the other. Where tau2-bench does
something surprising, so do we, and say so at the place.

The company's day is fixed: 25 February 2025.
"""
