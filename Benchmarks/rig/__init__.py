"""The bench: keys and tokens, proxies and backends, load, and what it cost."""
