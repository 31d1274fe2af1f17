"""What a data owner imports, and the command line: keys, payloads, ledger client, local training."""
