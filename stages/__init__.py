"""The typer commands: one file for each stage, one for each subject of the others.

Each command loads its inputs, calls one library function and saves the result.
"""
