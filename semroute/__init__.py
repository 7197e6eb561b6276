"""semroute: YAML routes in, a decision in milliseconds, an answer whatever the providers do."""
