"""Checks that everything the active experiment needs is available, and says what to do about problems."""
