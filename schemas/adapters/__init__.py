"""From what sites already send to canonical events."""
