"""Transactions before a block: who may let how many wait, what is verified once, and how a proposal is chosen.

``door`` judges what arrives, on ``shares`` (what each member may have waiting) and ``transactions`` (what was verified
already); ``proposals`` chooses and checks blocks.
"""
