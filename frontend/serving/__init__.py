"""What the frontend says for itself: which requests it takes, which models it knows, how it is doing."""
