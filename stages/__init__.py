"""One typer command a file: load, call one library function, save."""
