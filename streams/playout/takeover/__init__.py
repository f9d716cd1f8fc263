"""Live takeovers: the decision, and the processes that read the broadcaster's feed."""
