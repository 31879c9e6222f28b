"""Recommends items of the user's own history, for data in which users choose the same items again and again."""
