"""Programs a reader can start from; each is run by the tests."""
