"""The node agent: when does which check run, who may ask for it, and who is told what was found?

Invariants: the agent's own process never calls the driver (``running.Runner`` starts others for
that); it has no credentials of the cluster; whatever is asked of it costs bounded work; what it has
on its disk may be damaged or lost, and it goes on.
"""
