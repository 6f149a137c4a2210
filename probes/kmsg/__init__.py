"""How does a node's kernel log leave the node without losing a record?

One way through: ``ring`` reads /dev/kmsg and counts what was missed, ``record`` parses a
read, ``follow`` turns records into lines, ``output`` hands lines to stdout and to the
``outbox``, ``push`` delivers the outbox to Loki, ``position`` remembers what was delivered.
Standard library only: this runs on every node and has to stay small.
"""
