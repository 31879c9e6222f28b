"""Speed, scale and accuracy against peers; each module is one command that prints a table and a line of JSON."""
