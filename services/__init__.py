"""Long-running programs beside a node. Each is a thin shell around a pure core."""
