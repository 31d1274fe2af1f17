"""Every decoder under mutated bytes: targets, a mutator, and libFuzzer where it is installed."""
