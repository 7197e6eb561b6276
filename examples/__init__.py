"""Examples that run offline: `python -m examples.support_bot`, from the top of a checkout."""
