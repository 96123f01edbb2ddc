"""What every Router must do. To run it over another implementation, add a line to ``factories.py``."""
