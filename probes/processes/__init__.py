"""Processes of this machine: which there are, and how they are ended."""
