"""Effects and time: the loop, the appliers, the HTTP port. Decides nothing by itself."""
