"""A load generator for one chain: what is sent (steps), over what (connections), how fast (driver), what came of it.

It shares the machine with the nodes that it loads, so it is kept cheap: transactions are signed before the clock
starts, requests are bytes, and its own processor time is part of every result.
"""
