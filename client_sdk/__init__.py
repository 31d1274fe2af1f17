"""What a data owner imports: keys, payloads, ledger client, verified reads, receipts, local training."""
