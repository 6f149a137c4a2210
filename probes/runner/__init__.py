"""How is a check run so that it ends?

``run.Runner`` is what the agent and the command line use. It starts ``child`` as a process of its
own for the checks of a run, keeps the clock, and ends what is late with all that it started.
"""
