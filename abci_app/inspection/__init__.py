"""Looking into what a node has stored, without the node: ``fsck`` checks it, ``diff_state`` compares two.

Both return what they found; the command line prints it.
"""
