"""Watch rules: what enters is judged, flagged, and told to webhooks."""
