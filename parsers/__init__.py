"""Text to Fault: what does a log line say about which device?

Standard library only. Nothing here knows Kubernetes, Loki or the clock: a line goes in,
Faults come out. ``parsers.fault`` holds the vocabulary, ``parsers.record`` takes wrappers
off a line, ``parsers.decode`` turns records into Faults.
"""
