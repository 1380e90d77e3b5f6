"""security.md, section J: what is no good token is 401, the same 401, and nothing of the request arrives."""

import json
import os
import re
import socket
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness import tokens
from harness.dpop import Client
from harness.tokens import (
    CURVES, HMAC_ALGORITHMS, PUBLIC_KEY_ALGORITHMS, SECRET, b64, bearer, claims, key, key_for, keys_token, raw_token,
    token, unb64)


def refuse(proxy, text: str, code="token_invalid", target="/tasks"):
    return proxy.assert_refused(proxy.get(target, bearer(text)), 401, code)


def accept(proxy, text: str, user="alice", target="/tasks"):
    return proxy.assert_arrived(proxy.get(target, bearer(text)), user)


def resign(text: str, **header) -> str:
    """The same payload under another header, signed again with the HMAC secret."""
    return raw_token(json.dumps(header).encode(), unb64(text.split(".")[1]), "HS256", SECRET)


# What is accepted.

@pytest.mark.parametrize("algorithm", HMAC_ALGORITHMS)
def test_hmac(proxy, algorithm):
    accept(proxy, token(algorithm))


@pytest.mark.parametrize("algorithm", PUBLIC_KEY_ALGORITHMS)
def test_public_key_from_jwks(proxy, algorithm):
    accept(proxy, keys_token(algorithm))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_tokens_of_another_library(proxy, algorithm):
    text = jwt.encode(claims(issuer="https://keys.test"), key_for(algorithm, "keys"), algorithm,
                      headers={"kid": algorithm.lower()})
    accept(proxy, text)


@pytest.mark.parametrize("issuer, algorithm", [("pem-rsa", "RS256"), ("pem-ec", "ES256"), ("pem-ed", "EdDSA")])
@pytest.mark.parametrize("kid", [None, "whatever"], ids=["no-kid", "kid"])
def test_pem_keys(proxy, issuer, algorithm, kid):
    header = {"kid": kid} if kid else {}
    accept(proxy, token(algorithm, key_for(algorithm, "pem"), issuer=f"https://{issuer}.test", header=header))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_in_any_case(proxy, scheme):
    proxy.assert_arrived(proxy.get("/tasks", {"Authorization": f"{scheme} {token()}"}), "alice")


def test_field_name_in_any_case(proxy):
    proxy.assert_arrived(proxy.get("/tasks", {"AUTHORIZATION": f"Bearer {token()}"}), "alice")


@pytest.mark.parametrize("audience", [
    "https://api.test", ["https://api.test"], ["https://else.test", "https://second.test"], "https://second.test"])
def test_audiences(proxy, audience):
    accept(proxy, token(audience=audience))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT", ...], ids=str)
def test_types_accepted(proxy, typ):
    """RFC 8725 §3.11; `typ` is a media type: its case does not count, `application/` may stand there (RFC 7515 §4.1.9)."""
    accept(proxy, token(header={"typ": typ}))


def test_keys_without_kid_in_the_token(proxy):
    """One key of the set fits the algorithm: no kid is needed."""
    accept(proxy, keys_token("EdDSA", kid=None))


@pytest.mark.parametrize("more", [{"nbf": -10}, {"iat": ...}, {"nbf": 0}, {"exp": -10}, {"iat": 10}, {"nbf": 10}],
                         ids=str)
def test_times_within_leeway(proxy, more):
    now = time.time()
    accept(proxy, token(**{k: v if v is ... else int(now + v) for k, v in more.items()}))


def test_fractional_times(proxy):
    accept(proxy, token(exp=time.time() + 60.5, iat=time.time() - 1.25))


# What is refused.

@pytest.mark.parametrize("value", [
    "", "Bearer", "Bearer ", "Bearer  ", "Bearer x", "Bearer x.y", "Bearer x.y.z", "Bearer ..", "Bearer a.b.c.d", "Bearer a.b.c.d.e",
    "Basic YTpi", "Token " + token(), "Bearer" + token(), "Bearer\t" + token(), token(), "Bearer " + token() + " x",
    "Bearer " + token() + ",", 'Bearer token="' + token() + '"', "Bearer =" + token(), "Bearer " + token() + "=",
    "Bearer ." + token(), "Bearer " + token() + ".", "Negotiate x", "Bearer \xe9"], ids=lambda v: repr(v[:24]))
def test_authorization_values(proxy, value):
    answer = proxy.get("/tasks", {"Authorization": value})
    assert answer.status in (400, 401)
    proxy.assert_refused(answer, answer.status)


def test_no_token(proxy):
    answer = proxy.get("/tasks")
    assert answer.headers.all("www-authenticate") and "error" not in answer.headers.get("www-authenticate")
    proxy.assert_refused(answer, 401, "token_missing")


@pytest.mark.parametrize("target", ["/tasks", "/optional/x"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer ", "DPoP"])
def test_a_scheme_alone_is_no_token(proxy, scheme, target):
    """Answered as a request without one (RFC 6750 section 3.1: no `error`), and never let through as nobody's (J15)."""
    answer = proxy.get(target, {"Authorization": scheme})
    assert "error" not in answer.headers.get("www-authenticate")
    proxy.assert_refused(answer, 401, "token_missing")


def hmac_with(secret: bytes, issuer: str, kid: str | None, algorithm="HS256") -> str:
    return token(algorithm, secret, header={"kid": kid} if kid else {}, issuer=issuer)


def confusion_secrets():
    for name, owner, issuer, kid in [
            ("rsa", "keys", "https://keys.test", "rs256"), ("ES256", "keys", "https://keys.test", "es256"),
            ("rsa", "pem", "https://pem-rsa.test", None), ("ES256", "pem", "https://pem-ec.test", None)]:
        private = key(name, owner)
        pem = tokens.public_pem(private)
        jwk = tokens.jwk(private, kid=kid, alg=None)
        for label, secret in {
                "pem": pem, "pem-stripped": pem.strip(), "pem-leading-space": b" " + pem, "der": tokens.public_der(private),
                "jwk": json.dumps(jwk).encode(), "jwk-compact": json.dumps(jwk, separators=(",", ":")).encode(),
                "x-or-n": unb64(jwk.get("x") or jwk["n"]), "empty": b"\0"}.items():
            yield pytest.param(issuer, kid, secret, id=f"{owner}-{name}-{label}")


@pytest.mark.parametrize("issuer, kid, secret", list(confusion_secrets()))
@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_J1_public_key_as_hmac_secret(proxy, issuer, kid, secret, algorithm):
    refuse(proxy, hmac_with(secret, issuer, kid, algorithm))


@pytest.mark.parametrize("stated, used", [
    ("ES256", "ES384"), ("ES384", "ES256"), ("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512"), ("EdDSA", "ES256"),
    ("RS256", "ES256"), ("ES256", "EdDSA"), ("HS256", "ES256")])
def test_J1_algorithm_that_does_not_fit_the_key(proxy, stated, used):
    text = token(used, key_for(used, "keys"), header={"alg": stated, "kid": used.lower()}, issuer="https://keys.test")
    refuse(proxy, text)


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_J1_algorithm_that_is_not_configured(proxy, algorithm):
    """pem-rsa has the default list: RS256 only."""
    refuse(proxy, token(algorithm, key("rsa", "pem"), issuer="https://pem-rsa.test"))


@pytest.mark.parametrize("algorithm", ["RS384", "PS512"])
def test_J1_alg_of_the_key_binds(proxy, algorithm):
    """The key `rs256` of the set says alg RS256: it verifies nothing else, though the list has it and the key could."""
    refuse(proxy, keys_token(algorithm, kid="rs256"))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_J1_hmac_token_without_hmac_algorithms(proxy, algorithm):
    refuse(proxy, token(algorithm, issuer="https://keys.test"))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_J1_public_key_token_for_the_hmac_issuer(proxy, algorithm):
    refuse(proxy, token(algorithm, key_for(algorithm, "keys"), header={"kid": algorithm.lower()}))


@pytest.mark.parametrize("alg", [
    "none", "None", "NONE", "nOnE", "", ..., 0, 256, None, True, [], ["HS256"], {}, "hs256", "HS257", "HS1", "HS256 ", " HS256",
    "HS256\0", "HMAC", "ES256K", "dir", "A128GCM", "RSA1_5", "Ed448"], ids=repr)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "empty-signature"])
def test_J2_algorithm_names(proxy, alg, signed):
    text = token(header={"alg": alg})
    refuse(proxy, text if signed else text.rsplit(".", 1)[0] + ".")


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "RS256", "EdDSA"])
def test_J2_empty_or_short_signature(proxy, algorithm):
    text = token() if algorithm == "HS256" else keys_token(algorithm)
    head, _, sig = text.rpartition(".")
    for cut in ["", sig[:4], b64(unb64(sig)[:-1]), b64(unb64(sig) + b"\0"), b64(b"\0" * len(unb64(sig)))]:
        refuse(proxy, f"{head}.{cut}")


@pytest.mark.parametrize("header", [
    {"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"crit": "exp"}, {"crit": None},
    {"crit": ["unknown"], "unknown": 1}, {"crit": {}}], ids=str)
def test_J3_critical_headers(proxy, header):
    refuse(proxy, token(header=header))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_J4_keys_belong_to_their_issuer(proxy, algorithm):
    """keys and other use the same kids. Warm caches in both directions change nothing."""
    own = token(algorithm, key_for(algorithm, "other"), header={"kid": algorithm.lower()}, issuer="https://other.test")
    for _ in range(3):
        accept(proxy, keys_token(algorithm))
        proxy.backend.clear()
        accept(proxy, own)
        proxy.backend.clear()
        refuse(proxy, token(algorithm, key_for(algorithm, "keys"), header={"kid": algorithm.lower()},
                            issuer="https://other.test"))
        refuse(proxy, token(algorithm, key_for(algorithm, "other"), header={"kid": algorithm.lower()},
                            issuer="https://keys.test"))


def test_J4_cached_token_is_not_good_on_a_route_of_another_issuer(proxy):
    text = token()
    for _ in range(3):
        accept(proxy, text, target="/only-main/x")
        proxy.backend.clear()
        refuse(proxy, text, target="/only-other/x")


def test_J4_unknown_issuer(proxy):
    refuse(proxy, token(issuer="https://nobody.test"))
    for near in ["https://main.test/", "HTTPS://MAIN.TEST", "https://main.test ", "https://main.tes", ""]:
        refuse(proxy, token(issuer=near))


def test_J6_a_token_that_differs_in_one_byte_never_hits_the_cache(proxy):
    text = token(email="alice@example.com")
    for _ in range(5):  # warm
        accept(proxy, text)
        proxy.backend.clear()
    head, body, sig = text.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for part, position in [(0, 3), (0, len(head) - 1), (1, 0), (1, 20), (1, len(body) - 2), (2, 0), (2, 20), (2, len(sig) - 2),
                           (2, len(sig) - 1)]:
        parts = [head, body, sig]
        old = parts[part][position]
        new = alphabet[(alphabet.index(old) + 1) % 64]
        parts[part] = parts[part][:position] + new + parts[part][position + 1:]
        answer = proxy.get("/tasks", bearer(".".join(parts)))
        assert answer.status == 401, (part, position)
        proxy.assert_nothing_arrived()
    accept(proxy, text)


def test_J6_same_signature_other_payload(proxy):
    text = token()
    accept(proxy, text)
    proxy.backend.clear()
    head, _, sig = text.split(".")
    refuse(proxy, f"{head}.{b64(json.dumps(claims(subject='mallory')).encode())}.{sig}")


def test_J6_a_cached_token_dies_at_exp(proxy):
    """The strict issuer has a leeway of 2 s."""
    text = token(issuer="https://strict.test", exp=int(time.time()) + 4, header={"typ": "at+jwt"})
    accept(proxy, text)
    proxy.backend.clear()
    accept(proxy, text)
    proxy.backend.clear()
    time.sleep(max(0, json.loads(unb64(text.split(".")[1]))["exp"] + 3.1 - time.time()))
    refuse(proxy, text, "token_expired")


def test_J6_many_users_in_turn(proxy):
    texts = [(f"user-{n}", token(subject=f"user-{n}")) for n in range(50)]
    for user, text in texts * 3:
        accept(proxy, text, user)
        proxy.backend.clear()


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("change", [
    lambda s: s + "=", lambda s: s + "==", lambda s: s + " ", lambda s: " " + s, lambda s: s[:5] + "\t" + s[5:],
    lambda s: s[:5] + " " + s[5:], lambda s: s[:5] + "+" + s[6:], lambda s: s[:5] + "/" + s[6:], lambda s: s[:5] + "%2d" + s[6:],
    lambda s: s[:5] + "." + s[5:], lambda s: "", lambda s: s[:5] + "~" + s[6:], lambda s: s + "A" * (5 - len(s) % 4)],
    ids=["padding", "padding2", "space-end", "space-start", "tab", "space", "plus", "slash", "percent", "dot", "empty", "tilde",
         "lonely-character"])
def test_J8_base64url_is_strict(proxy, part, change):
    parts = token(email="some@example.com").split(".")
    parts[part] = change(parts[part])
    if ".".join(parts) != ".".join(parts).strip():
        return  # whitespace around a field value is HTTP's, not the token's (RFC 9110 §5.5)
    answer = proxy.get("/tasks", {"Authorization": "Bearer " + ".".join(parts)})
    assert answer.status in (400, 401)
    proxy.assert_refused(answer, answer.status)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_J8_trailing_bits_must_be_zero(proxy, part):
    """The last character of a group of two or three has bits that are not used: another spelling of the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for pad in range(3):
        header = json.dumps({"alg": "HS256", "x": "y" * pad}).encode()
        payload = json.dumps(claims(x="y" * pad)).encode()
        parts = raw_token(header, payload, "HS256", SECRET).split(".")
        if len(parts[part]) % 4 == 0:
            continue
        last = alphabet.index(parts[part][-1])
        respelt = parts[part][:-1] + alphabet[last + 1]
        assert unb64(respelt) == unb64(parts[part])
        if part < 2:
            # signed as respelt, so that only the spelling is wrong
            parts[part] = respelt
            parts[2] = b64(tokens.signature("HS256", SECRET, f"{parts[0]}.{parts[1]}".encode()))
        else:
            parts[2] = respelt
        refuse(proxy, ".".join(parts))
        return
    pytest.fail("no case was tried")


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
@pytest.mark.parametrize("case", [
    "der", "long", "short", "double", "r=0", "s=0", "r=n", "s=n", "r+n", "zeros", "huge"])
def test_J11_ecdsa_signatures(proxy, algorithm, case):
    text = keys_token(algorithm)
    head, _, sig = text.rpartition(".")
    raw = unb64(sig)
    width = CURVES[algorithm][1]
    r, s = int.from_bytes(raw[:width], "big"), int.from_bytes(raw[width:], "big")
    order = {
        "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        "ES384": int("ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
        "ES512": int("01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03b"
                     "b5c9b8899c47aebb6fb71e91386409", 16)}[algorithm]
    both = lambda a, b: (a % (1 << 8 * width)).to_bytes(width, "big") + (b % (1 << 8 * width)).to_bytes(width, "big")
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    forged = {
        "der": encode_dss_signature(r, s), "long": raw + b"\0", "short": raw[:-1], "double": raw + raw,
        "r=0": both(0, s), "s=0": both(r, 0), "r=n": both(order, s), "s=n": both(r, order), "r+n": both(r + order, s),
        "zeros": bytes(2 * width), "huge": b"\xff" * 4096}[case]
    refuse(proxy, f"{head}.{b64(forged)}")


def payload_token(payload: bytes) -> str:
    return raw_token(b'{"alg":"HS256","typ":"JWT"}', payload, "HS256", SECRET)


def with_raw(**members: str) -> bytes:
    """Good claims with members whose JSON text is given."""
    base = {k: v for k, v in claims().items() if k not in members}
    return json.dumps(base)[:-1].encode() + b"".join(f', "{k}": {v}'.encode() for k, v in members.items()) + b"}"


def processor_seconds(proxy) -> float:
    """What the proxy has computed so far, all threads together."""
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("payload", [
    with_raw(exp="1e99999999"), with_raw(exp="-1e99999999"), with_raw(exp="1e400"), with_raw(exp="9" * 5000),
    with_raw(exp="0x7fffffff"), with_raw(exp="01999999999"), with_raw(exp="+1999999999"), with_raw(exp="NaN"),
    with_raw(exp="Infinity"), with_raw(exp="1999999999."), with_raw(exp=".5e10"), with_raw(exp="1e"), with_raw(exp="-"),
    with_raw(exp="99999999999999999999999"), with_raw(nbf="1e99999999"), with_raw(iat="1e99999999"),
    with_raw(x="[" * 2000 + "]" * 2000), with_raw(x='{"a":' * 800 + "1" + "}" * 800),
    with_raw(x="[" * 3000), b"[" * 3000, b"{}", b"[]", b"null", b"5", b'"x"', b"", b" ", b"{", b'{"sub"', b"{}{}",
    with_raw() + b" x", with_raw() + b"\0", b"\xef\xbb\xbf" + with_raw(), with_raw()[:-1] + b",}", with_raw().replace(b'"', b"'"),
    b"/* c */" + with_raw(), with_raw(x='"a\nb"'), with_raw(x='"a\tb"'), with_raw(x='"\\x41"'), with_raw(x='"\\u12"'),
    with_raw(x="True"), with_raw(x="undefined"), with_raw(x='"unclosed'),
    with_raw()[:-1] + b', "x": "\xff"}', with_raw()[:-1] + b', "x": "\xc0\x80"}', with_raw()[:-1] + b', "x": "\xed\xa0\x80"}',
    with_raw()[:-1] + b', "x": "\xf4\x90\x80\x80"}', with_raw()[:-1] + b', "x": "\xe2\x82"}',
    with_raw().decode().encode("utf-16")], ids=lambda p: repr(re.sub(rb"(\x00?\d){3,}", b"N", p)[-40:]))
def test_J12_json_is_strict(proxy, payload):
    headers = bearer(payload_token(payload))
    before = processor_seconds(proxy)
    answers = [proxy.get("/tasks", headers) for _ in range(10)]
    # A whole request takes a tenth of a millisecond; a build with sanitizers takes longer.
    assert processor_seconds(proxy) - before < 0.1
    for answer in answers:
        assert answer.status in (400, 401, 431), answer.status
        proxy.assert_refused(answer, answer.status)


@pytest.mark.parametrize("size", [9 * 1024, 17 * 1024, 31 * 1024])
def test_J12_large_token(proxy, size):
    """limits.token_bytes is 8 KiB; the head as a whole may have 32 KiB."""
    refuse(proxy, token(padding="x" * (size * 3 // 4)))


@pytest.mark.parametrize("size", [64 * 1024, 1 << 20])
def test_J12_large_header(proxy, size):
    with proxy.client() as client:
        client.try_send(b"GET /tasks HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer " + b"x" * size + b"\r\n\r\n")
        answer = client.response()
    assert answer.status in (400, 401, 431)
    proxy.assert_refused(answer, answer.status)


def test_J12_large_token_below_the_limit(proxy):
    accept(proxy, token(padding="x" * 5000))


@pytest.mark.parametrize("payload", [
    with_raw()[:-1] + b', "sub": "mallory"}', b'{"sub": "mallory", ' + with_raw()[1:], with_raw()[:-1] + b', "exp": 9999999999}',
    with_raw()[:-1] + b', "x": {"a": 1, "a": 2}}', with_raw()[:-1] + b', "x": 1, "x": 1}',
    with_raw()[:-1] + b', "s\\u0075b": "mallory"}'],
    ids=["sub-last", "sub-first", "exp", "nested", "unused", "escaped"])
def test_J13_duplicate_members_of_the_payload(proxy, payload):
    refuse(proxy, payload_token(payload))


@pytest.mark.parametrize("header", [
    b'{"alg":"HS256","alg":"HS256"}', b'{"alg":"none","alg":"HS256"}', b'{"alg":"HS256","alg":"none"}',
    b'{"alg":"HS256","typ":"JWT","typ":"JWT"}', b'{"alg":"HS256","a\\u006cg":"none"}', b'{"alg":"HS256","x":1,"x":2}'])
def test_J13_duplicate_members_of_the_header(proxy, header):
    refuse(proxy, raw_token(header, json.dumps(claims()).encode(), "HS256", SECRET))


@pytest.mark.parametrize("wrong, right", [("Sub", "sub"), ("SUB", "sub"), ("Exp", "exp"), ("Iss", "iss"), ("Aud", "aud"), (" sub", "sub")])
def test_J13_case_of_claims_counts(proxy, wrong, right):
    body = claims()
    body[wrong] = body.pop(right)
    refuse(proxy, token(payload=body))


def test_J13_case_of_header_members_counts(proxy):
    refuse(proxy, token(header={"alg": ..., "Alg": "HS256"}))


@pytest.mark.parametrize("audience", [
    "https://else.test", ["https://else.test"], [], "", ..., None, 5, {}, {"https://api.test": 1}, ["https://api.test", 5],
    [["https://api.test"]], "https://api.test/", "HTTPS://API.TEST", "https://api.test https://second.test", True], ids=repr)
def test_J14_audience(proxy, audience):
    refuse(proxy, token(audience=audience))


@pytest.mark.parametrize("value", [
    "x", "", "x.y.z", token(issuer="https://nobody.test"), token(exp=1), token(secret_or_key=b"w" * 40),
    token(audience="https://else.test"), token(header={"alg": "none"}), token(issuer="https://keys.test")],
    ids=["x", "empty", "three-parts", "issuer", "expired", "signature", "audience", "none", "other-issuer"])
def test_J15_optional_route_with_a_bad_token(proxy, value):
    proxy.assert_refused(proxy.get("/optional/x", {"Authorization": f"Bearer {value}"}), 401)


def test_J15_optional_route(proxy):
    proxy.assert_arrived(proxy.get("/optional/x"), None)
    proxy.backend.clear()
    accept(proxy, token(), target="/optional/x")


WRONG_TYPES = [
    ("sub", 5), ("sub", []), ("sub", {}), ("sub", ""), ("sub", None), ("sub", True), ("sub", ["alice"]), ("sub", ...),
    ("exp", "123"), ("exp", str(2**33)), ("exp", None), ("exp", True), ("exp", []), ("exp", {}), ("exp", ...), ("exp", -1),
    ("iss", ["https://main.test"]), ("iss", 5), ("iss", None), ("iss", ...), ("iss", {}),
    ("nbf", "0"), ("nbf", None), ("nbf", []), ("nbf", True), ("iat", "0"), ("iat", None), ("iat", []), ("iat", True),
]


@pytest.mark.parametrize("name, value", WRONG_TYPES, ids=lambda v: repr(v))
def test_J16_wrong_types(proxy, name, value):
    body = claims()
    if value is ...:
        del body[name]
    else:
        body[name] = value
    answer = proxy.get("/tasks", bearer(token(payload=body)))
    proxy.assert_refused(answer, 401)


@pytest.mark.parametrize("name, value", [("typ", 5), ("typ", []), ("typ", None), ("kid", 5), ("kid", []), ("kid", {}), ("kid", None)],
                         ids=repr)
def test_J16_wrong_types_in_the_header(proxy, name, value):
    refuse(proxy, token(header={name: value}))


@pytest.mark.parametrize("more, code", [
    ({"exp": -60}, "token_expired"), ({"exp": -3600}, "token_expired"), ({"nbf": 120}, "token_invalid"),
    ({"iat": 3600}, "token_invalid"), ({"exp": -60, "nbf": 600}, None)], ids=str)
def test_times(proxy, more, code):
    refuse(proxy, token(**{k: int(time.time()) + v for k, v in more.items()}), code)


def test_expired_is_said_only_where_the_signature_held(proxy):
    """Nobody learns from the answer what they have not proven."""
    refuse(proxy, token(secret_or_key=b"wrong" * 10, exp=1), "token_invalid")


@pytest.mark.parametrize("typ", ["JWE", "dpop+jwt", "logout+jwt", "id_token", "secevent+jwt", "", "JWT2", "at+jwt;x"])
def test_types_refused(proxy, typ):
    refuse(proxy, token(header={"typ": typ}))


class TestStrictIssuer:
    """subject list, types, required_type, leeway, maximum_lifetime, refuse_claims."""

    @staticmethod
    def make(header=None, **more):
        return token(issuer="https://strict.test", header={"typ": "at+jwt"} | (header or {}),
                     **({"exp": int(time.time()) + 600} | more))

    def test_accepted(self, proxy):
        accept(proxy, self.make())

    def test_first_subject_claim_wins(self, proxy):
        accept(proxy, self.make(user_id="u-7"), "u-7")

    @pytest.mark.parametrize("typ", [..., "JWT"], ids=str)
    def test_type_is_required(self, proxy, typ):
        refuse(proxy, self.make(header={"typ": typ}))

    def test_lifetime(self, proxy):
        refuse(proxy, self.make(exp=int(time.time()) + 3700))

    def test_lifetime_needs_iat(self, proxy):
        refuse(proxy, self.make(iat=...))

    @pytest.mark.parametrize("name", ["azp", "client_id"])
    @pytest.mark.parametrize("value", ["app", "", None, 5], ids=repr)
    def test_refused_claims(self, proxy, name, value):
        refuse(proxy, self.make(**{name: value}))

    def test_leeway(self, proxy):
        now = int(time.time())
        refuse(proxy, self.make(iat=now - 100, exp=now - 5), "token_expired")

    def test_expired_before_it_was_issued(self, proxy):
        """What has an `exp` in the past is said to be expired, however `maximum_lifetime` reads it together with `iat`."""
        now = int(time.time())
        refuse(proxy, self.make(iat=now, exp=now - 60), "token_expired")

    def test_nbf_beyond_leeway(self, proxy):
        refuse(proxy, self.make(nbf=int(time.time()) + 300))


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "PS256", "ES256", "EdDSA"])
def test_J18_a_bad_token_does_not_poison_the_next(proxy, algorithm):
    """On one connection, so on one thread: OpenSSL keeps its errors per thread."""
    good = token() if algorithm == "HS256" else keys_token(algorithm)
    head, _, sig = good.rpartition(".")
    raw = bytearray(unb64(sig))
    raw[7] ^= 1
    with proxy.client() as client:
        for bad in [f"{head}.{b64(bytes(raw))}", f"{head}.{b64(b'x')}", f"{head}.{b64(bytes(len(raw)))}"]:
            assert client.request("GET", "/tasks", bearer(bad)).status == 401
            assert client.request("GET", "/tasks", bearer(good)).status == 200
    assert [r.user for r in proxy.backend.requests] == [["alice"]] * 3


# Where a text is a digest, nothing is wrong with the token but that it is bound.
DIGEST = b64(bytes(range(32)))


@pytest.mark.parametrize("binding", [
    {"jkt": DIGEST}, {"x5t#S256": DIGEST}, {"jkt": DIGEST, "x5t#S256": DIGEST}, {"jkt": DIGEST, "kid": "a"}, {"jwk": DIGEST},
    {"jkt": "x"}, {"x5t#S256": "x"}, {"jwk": {}}, {}, None, "x", []], ids=repr)
def test_J20_bound_tokens(proxy, binding):
    refuse(proxy, token(cnf=binding))


def test_J20_dpop_scheme(proxy):
    """Where no proofs are taken, a good one is none."""
    client = Client()
    fields = client.fields(client.token(), url="http://usher.test/tasks")
    for headers in (fields, fields | {"DPoP": "x.y.z"}, {"Authorization": fields["Authorization"]}):
        proxy.assert_refused(proxy.get("/tasks", headers), 401)


def normalised(answer) -> tuple:
    headers = sorted((n.lower(), v) for n, v in answer.headers.lines if n.lower() not in ("date", "x-request-id"))
    body = answer.json()
    for name in ("instance", "request_id"):
        body.pop(name, None)
    return answer.status, headers, body


def test_J21_answers_do_not_tell_why(proxy):
    bad = [
        keys_token("ES256")[:-8] + "AAAAAAAA",
        keys_token("ES256", kid="no-such-kid"),
        keys_token("ES256", audience="https://else.test"),
        keys_token("ES256", issuer="https://nobody.test"),
        token("ES256", key("ES256", "stranger"), header={"kid": "es256"}, issuer="https://keys.test"),
        keys_token("ES256", header={"crit": ["x"]}),
        keys_token("ES256", subject=""),
        keys_token("ES256", nbf=int(time.time()) + 500),
        token(header={"alg": "none"}),
        "garbage",
    ]
    answers = [normalised(proxy.get("/tasks", bearer(text))) for text in bad]
    assert answers[0][0] == 401
    for answer in answers[1:]:
        assert answer == answers[0]
    proxy.assert_nothing_arrived()


def test_J21_nothing_of_the_token_in_the_answer(proxy):
    text = token(subject="very-secret-subject", secret_or_key=b"w" * 40)
    answer = proxy.get("/tasks", bearer(text))
    whole = answer.body + repr(answer.headers.lines).encode()
    for part in (b"very-secret-subject", text.encode(), text.split(".")[1].encode()):
        assert part not in whole


@pytest.mark.parametrize("kid, algorithm, name, good", [
    ("bare", "ES256", "ES256", True), ("bare-rsa", "RS256", "rsa", True), ("ops-verify", "ES256", "ES256", True),
    ("use-enc", "ES256", "ES256", False), ("ops-sign", "ES256", "ES256", False), ("ops-encrypt", "ES256", "ES256", False),
    ("rsa1024", "RS256", "rsa1024", False), ("other-alg", "RS256", "rsa", False), ("unknown-crv", "ES256", "ES256", False),
    ("off-curve", "ES256", "ES256", False)])
def test_J23_odd_keys_are_skipped_and_the_rest_loads(proxy, kid, algorithm, name, good):
    text = token(algorithm, key(name, f"odd-{kid}"), header={"kid": kid}, issuer="https://odd.test")
    accept(proxy, text) if good else refuse(proxy, text)


@pytest.mark.parametrize("header", [
    lambda k, url: {"jwk": tokens.jwk(k, kid="es256")}, lambda k, url: {"jku": url}, lambda k, url: {"x5u": url},
    lambda k, url: {"x5c": ["AAAA"]}], ids=["jwk", "jku", "x5u", "x5c"])
def test_J10_keys_from_the_token_itself(proxy, header):
    private = ec.generate_private_key(ec.SECP256R1())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        header = header(private, f"http://127.0.0.1:{listener.getsockname()[1]}/keys")
        refuse(proxy, token("ES256", private, header={"kid": "es256"} | header, issuer="https://keys.test"))
        listener.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("kid", ["../../etc/passwd", "es256' OR 1=1", "es256\0", "ES256", "es256 ", "", "x" * 4000])
def test_kid_is_an_exact_name(proxy, kid):
    refuse(proxy, keys_token("ES256", kid=None, header={"kid": kid}))
