"""The dashboard: what an installation does, read from its topics and its store and shown in a browser."""
