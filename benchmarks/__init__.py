"""What a request costs the client, peers side by side in the same run. `make bench` writes RESULTS.md."""
