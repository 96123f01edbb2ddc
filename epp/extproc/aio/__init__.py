"""The ext_proc door on grpc.aio."""
