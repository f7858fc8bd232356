"""`gift init`: a project in a folder of its own, without the code. `template` has what only such a project has."""
