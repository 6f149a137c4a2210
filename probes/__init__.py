"""What runs on a node: the kernel-log forwarder. Never imports the controller."""
