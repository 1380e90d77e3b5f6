"""A second reading of the documentation: what becomes of a request under a configuration, worked out by other code than the
program's. Which of several refusals comes first is taken from the program.

Read in this order: `settings` (a configuration as plain values), `decision` (the steps, in turn), then what the steps use:
`targets`, `routing`, `places`, `proof`, `sessions`, `asked_sessions`, `authentication`, `pages`, `upstream_fields`. Of who holds keys: `possession`
(DPoP, bound tokens), `certificates`, `asked` (opaque tokens), `revoked`; `network_keys`. Of the way to backends: `two` (HTTP/2, trailers), `tunnels`
(WebSocket). The rest makes things up (`random_…`) and compares
(`…_witness`), or puts mistakes into the model that must be noticed (`mistakes`; the lists of them are
there and in the `…_mistakes`).

What stands in front is read from `front` on: `peers` (whom to believe), `questions` (forward-auth), `replies` (what browsers are told), with
a `random_…` and a `…_witness` of its own.
"""
