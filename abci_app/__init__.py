"""The shell that lets CometBFT drive the rules: ABCI over a socket, and a durable store.

Nothing here decides what a transaction does: that is ``contracts``. Reading order: ``application`` (what
CometBFT may ask), ``server`` (how it asks), ``store`` (what is kept), ``protocol`` (the messages).
"""
