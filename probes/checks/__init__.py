"""The checks, one in each file (``probes.check.Check``); ``probes.places`` lists them."""
