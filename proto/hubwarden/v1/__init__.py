"""Version 1 of the contract: `agent.proto` and what `make proto` generates from it. Nothing is written by hand."""
