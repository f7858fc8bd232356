"""Replay: the data that prevents forgetting, and the features of the teacher for it."""
