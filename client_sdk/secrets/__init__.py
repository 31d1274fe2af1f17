"""What must stay secret, and how it is kept: keys in a keyring, passphrases, validator keys, private files."""
