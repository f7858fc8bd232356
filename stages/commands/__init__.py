"""The commands for users: options, one call, one print."""
