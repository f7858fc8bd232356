"""`make revisions`: does a change of the code change what a stage writes?"""
