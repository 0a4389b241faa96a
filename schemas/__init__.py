"""What Rapport says: events in, decisions out, their codec, adapters and error types. No models, no IO."""
