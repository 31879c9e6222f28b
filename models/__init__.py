"""Models and arrays that training and serving share, one folder per subject. Only `bundle` and `files` touch disk."""
