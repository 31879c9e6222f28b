"""How often the outcome test is wrong, and how soon it is right, by simulation."""
