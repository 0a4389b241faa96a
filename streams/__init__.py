"""What moves: agents, transport, checkpoints, replay, configuration and the command line."""
