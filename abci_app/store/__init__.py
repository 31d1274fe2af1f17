"""The node's store: two versions of the state, durable, and refused when it is not what was committed.

``interface`` is what every store does; ``lmdb_store`` does it on disk, over ``files`` and checked ``pages``;
``memory_store`` does it for tests. ``recovery`` rebuilds the tree that a node starts from, ``history`` keeps each
contract's hash by height.
"""
