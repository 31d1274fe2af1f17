"""Documents that somebody else wrote, read with bounds and refused by field: JSON and TOML."""
