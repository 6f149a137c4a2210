"""The node agent: runs checks by their cadence, keeps what they found, serves it."""
