"""What the Makefile and the benchmarks run besides the product itself."""
