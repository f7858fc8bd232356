"""What knows DVC: its pipeline and cache, the loop of `gift run`, and how a stage under DVC begins and ends."""
