"""`make versions`: the code of the present versions, and the stages whose version should have been raised."""
