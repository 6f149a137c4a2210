"""Pure decisions: no I/O, no clock, no threads, no logging.

What goes in is a Snapshot, what comes out is a Plan. The same input gives the same output,
so a crash at any point is mended by deciding again.
"""
