"""The commands of ``konduktor-probe``: one module each, loaded when it is asked for."""
