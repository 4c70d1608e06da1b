"""The HTTP face: settings, routes, schemas, problem documents, metrics, the web page, the command line."""
