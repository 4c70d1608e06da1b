"""From a query to its ranking."""
