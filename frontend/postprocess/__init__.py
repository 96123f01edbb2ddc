"""Token ids to the engine, token ids back, text to the client (``postprocess=frontend``)."""
