"""The routes, one module per group; each parses, calls and answers."""
