"""Every client and router side by side, against simulated vLLM servers. `make bench` writes RESULTS.md."""
