"""`telecom`: tau2-bench's phone company: agent and customer's phone, each with a database.

The agent works on customers, lines and bills; the user on a phone and its surroundings. After each
call that wrote, `domain.sync_sides` carries over what one side's change means to the other. Where
tau2-bench does something surprising, so does this domain, with a comment at the place.

The date is fixed: 25 February 2025.
"""
