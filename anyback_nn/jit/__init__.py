"""Trace a step of training once and replay it without Python in between; see ``README.md`` here."""
