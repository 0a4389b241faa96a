"""The agents: intake, engine and learner, each a topic, a work and the loop that hands batches to lanes."""
