"""Build, run and inspect TensorRT engines whose plugin is a tuned kernel."""
