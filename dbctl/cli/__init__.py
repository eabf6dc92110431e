"""The command line: gather a request, run one use case, emit its result."""
