"""What a restart and a reset are: checks, order, locks and replay. No gRPC, no HTTP and no Docker client in here."""
