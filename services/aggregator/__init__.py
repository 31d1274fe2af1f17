"""The aggregator: opens rounds, and sees to it that their phases advance."""
