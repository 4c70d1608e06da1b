"""What is told of a running server: logs, metrics, sizes, searches, traces."""
