"""What did a program say? Parsers of tool output; ``probes.tools.run`` runs programs."""
