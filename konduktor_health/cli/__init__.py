"""The operator's commands, one module each; ``app`` puts them together."""
