"""Pull of the model servers' metrics pages."""
