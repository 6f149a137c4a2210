"""How are GPUs measured with programs? What checks that run tools have in common."""
