"""The harness against itself, without the proxy: `python -m harness.smoke`."""

from .backend import Backend
from .tokens import HMAC_ALGORITHMS, PUBLIC_KEY_ALGORITHMS, SECRET, claims, key_for, keys_token, token
from .wire import Client, chunk


def main() -> None:
    with Backend() as backend, Client(backend.port) as client:
        answer = client.request("GET", "/x?y=1", {"X-User-Id": "alice"})
        assert answer.status == 200 and answer.json()["user"] == ["alice"], answer
        client.send(b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(chunk(b"ab", b"c", trailers=b"X-T: 1\r\n"))
        assert client.response("POST").json()["body"] == "abc"
        assert backend.last.trailers.get("x-t") == "1" and backend.last.framing == "chunked"
        assert client.request("HEAD", "/h").body == b""
        assert len(backend.requests) == 3 and backend.connections == 1
        backend.script = lambda exchange: exchange.close()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.ended()

        # the same port again after a stop
        backend.stop()
        backend.restart()
        backend.clear()
        with Client(backend.port) as again:
            assert again.request("GET", "/").status == 200

    import jwt
    from . import tokens
    for algorithm in HMAC_ALGORITHMS:
        jwt.decode(token(algorithm), SECRET, [algorithm], audience="https://api.test")
    for algorithm in PUBLIC_KEY_ALGORITHMS:
        jwt.decode(keys_token(algorithm), key_for(algorithm, "keys").public_key(), [algorithm], audience="https://api.test")
        public = jwt.PyJWK(tokens.jwk(key_for(algorithm, "keys"), alg=algorithm)).key
        jwt.decode(keys_token(algorithm), public, [algorithm], audience="https://api.test")
    assert "sub" not in claims(sub=...)
    print("harness: whole")


if __name__ == "__main__":
    main()
