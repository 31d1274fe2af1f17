"""The structure of this repository, read from its syntax trees: packages, rooms, modules, and who imports whom.

``arrows`` says who may import whom; ``sources`` reads the files, ``circles`` finds what imports itself in the end,
``shape`` adds up; ``report`` and ``picture`` show it. Standard library only, and nothing that is read is imported.
Used by ``scripts/map.py``, by ``scripts/gen_docs.py`` and by the house rules (``tests/tidy.py``).
"""
