"""Hostile transactions by the thousand, in process and against four real validators."""
