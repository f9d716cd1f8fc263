"""Live takeovers: the decision, and the processes that read the owner's feed."""
