"""The door for people and scrapers: metrics, and why each choice was made."""
