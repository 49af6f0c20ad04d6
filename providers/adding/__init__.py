"""How the next provider comes in: from answers, and from what its server publishes."""
