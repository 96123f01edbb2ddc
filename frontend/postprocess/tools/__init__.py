"""Function calls in the text models write, by family."""
