"""Whether two models are the same: compared with each other and with independent implementations."""
