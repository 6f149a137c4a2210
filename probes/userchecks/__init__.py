"""Checks that a site brings itself: a program that prints JSON (docs/reference/user-checks.md)."""
