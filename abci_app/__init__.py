"""The shell that lets CometBFT drive the rules: ABCI over a socket, and a durable store.

Nothing here decides what a transaction does: that is ``contracts``. Reading order: ``protocol`` (what CometBFT asks,
and how), ``app`` (one method per call), ``pool`` (what waits), ``store`` (what is kept), ``queries`` (what is read),
``inspection`` (looking into a store from outside).
"""
