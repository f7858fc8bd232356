"""One typer command per file. Each loads its inputs, calls one library function and saves the result."""
