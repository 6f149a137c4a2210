"""What do users of IBM Autopilot get from a node? Its paths, texts and verdicts, from our checks.

Names and texts are an interface of theirs (docs/design/autopilot.md has their sources); what is
behind them is ours, so that a verdict is never better than what was measured.
"""
