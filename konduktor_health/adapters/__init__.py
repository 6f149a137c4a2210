"""Adapters: each translates one outside system into our ports and its errors into ours."""
