"""Version 1 of the contract: `agent.proto` and the code generated from it (`make proto`). Nothing here is written by hand."""
