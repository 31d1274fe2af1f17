"""A torch training script, before (``plain``) and after (``governed``) it takes part under the ledger.

``others`` starts everything that a real participant would find in place: a network, a consortium, a task, and the
other hospitals.
"""
