"""The demo: six hospitals, two labs and an auditor train a model together under a ledger that none of them controls.

Reading order: ``run`` (the whole), ``consortium`` (how it is formed), ``hospital`` and ``lab`` (the processes),
``incidents`` (what goes wrong on purpose; on digits also ``backdoor``, and ``probing``, which looks for one), ``watch``
and ``view`` (what is shown), ``summary``.
"""
