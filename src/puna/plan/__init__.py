"""What a run takes, computed before anything runs: parameters, FLOPs, memory, messages, time, energy; without torch."""
