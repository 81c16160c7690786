"""The subcommands of `pf`, each in a module with a function that registers it."""
