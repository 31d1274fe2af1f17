"""Sudden death: four real validators under load, killed at chosen moments, and an audit of what they promised."""
