"""Everything that reads the ledger: what a node is asked, and how much of its answer is proved.

``verified`` holds every answer against a header that the validators signed, ``trusting`` takes a node's word; both are
a ``queries.Reader``. ``view`` lets the ledger's own functions run on a proved state; ``budgets`` and ``round_states``
are some of those. ``trusted_headers`` keeps the headers, ``checkpoints`` remembers how far it came. ``contract_roots``
is an answer made of several reads; ``refusals`` reads what became of a transaction.
"""
