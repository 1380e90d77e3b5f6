"""What the black-box tests stand on: a recording backend, a raw client, tokens, and the real binary."""
