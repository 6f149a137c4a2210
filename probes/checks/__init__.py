"""The checks, one in each file (``probes.check.Check``); ``probes.registry`` lists them."""
