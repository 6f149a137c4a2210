"""What would the controller have done over this past? The real loop on a clock of its own.

``heard`` makes log entries of what was decoded once; ``past_boots`` tells from lines when a node
booted; ``past_nodes`` is a cluster in memory that edits are applied to as the API server applies
them; ``timeline`` keeps what happened; ``player`` turns ``runtime.loop`` over all of it. Nothing
here reads a file or a server, and nothing is written anywhere.
"""
