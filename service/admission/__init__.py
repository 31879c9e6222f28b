"""Admission: who may come in, and what a request may hold and take."""
