"""What holders of keys send, by chance: bound tokens with their proofs, certificates, opaque tokens, tokens that are revoked."""

from __future__ import annotations

import json
import random
import re
import time

from harness import tokens as keys

from . import random_configuration, random_requests
from .certificates import Certificate
from .possession import digest, seen_url, thumbprint
from .proof import secret
from .random_credentials import USERS, Credentials, claims_of, mistaken
from .random_text import odd_claims, with_numbers
from .revoked import Revoked
from .settings import Configuration, Issuer, Listener, Refused, Request, Route
from .targets import parse

# So long after it was sent, a request may come again: less than any proof is remembered, or is good.
AGAIN_SECONDS = 20
NAMES = ["one", "two", "three"]  # by which tokens are revoked
IDENTITY = {"X-Client-Subject": "tls.subject", "X-Client-Names": "tls.san", "X-Client-Print": "tls.fingerprint",
            "X-Preferred-Username": "name", "X-Nested": "deep.er.than", "X-Text": "text"}
ALGORITHMS = ["ES256", "ES256", "ES256", "EdDSA", "ES384", "ES512", "PS256", "RS512"]


def configuration(chance: random.Random) -> Configuration:
    found = random_configuration.configuration(chance)
    found.listeners += [Listener("locked", client_auth=chance.choice(["required", "optional"])), Listener("locked-two", "h2", client_auth="optional")]
    found.identity |= {name: IDENTITY[name] for name in chance.sample(sorted(IDENTITY), chance.randint(1, 4))}
    found.revoked = revoked(chance)
    issuers = list(found.issuers.values())
    if chance.random() < 0.6:
        asked = chance.choice(issuers)
        asked.source, asked.algorithms, asked.types, asked.required_type = "introspection", [], ["JWT", "at+jwt"], False
    for issuer in issuers:
        if "header" in issuer.token_from:
            issuer.dpop = chance.choice([None, "optional", "optional", "required" if issuer.token_from == ["header"] else "optional"])
        if issuer.dpop:
            issuer.dpop_lifetime, issuer.dpop_nonce = chance.choice([120, 300]), chance.random() < 0.25
    drawn = apart(found, "sign-in")
    for route in found.routes:
        if route.names and drawn.random() < 0.4:
            route.sign_in = drawn.choice(["/sign-in", "https://login.test/?from=usher"])
    return found


def apart(configuration: Configuration, what: str) -> random.Random:
    """For what came later: all else of a seed stays as it was."""
    return random.Random(f"{what} {' '.join(route.path for route in configuration.routes)} {len(configuration.requests)}")


def revoked(chance: random.Random) -> Revoked:
    names = [chance.choice(["two", {"iss": "https://first.test", "jti": "three"}, {"iss": "https://shared.test", "jti": "one"}, "id-of-TB"]) for _ in range(chance.choice([0, 2, 3]))]
    return Revoked(names, {chance.choice(USERS): int(time.time()) - chance.choice([30, 90])} if chance.random() < 0.15 else {})


class KeysCredentials(Credentials):
    """Tokens that are bound, or opaque; `token` and `key` are of the one that the proof is about."""

    bound = None

    def token(self) -> None:
        issuer = self.issuer()
        if self.chance.random() < 0.06 and self.configuration.tokens:
            # One of an earlier request, which a verdict may be remembered of, without what it is bound to.
            return self.put("header", self.chance.choice(self.configuration.tokens))
        self.key = self.chance.choice(ALGORITHMS), self.chance.choice(["client", "client", "other"])
        cnf = self.confirmation(issuer)
        text = self.made(issuer, cnf)
        self.configuration.tokens.append(text)
        by_proof = cnf is not None and "jkt" in cnf
        if issuer.dpop and (by_proof if self.chance.random() < 0.93 else not by_proof):
            self.bound = text
            self.authorization.append(self.chance.choice(["DPoP ", "DPoP ", "dpop "]) + text)
            if self.chance.random() < 0.05:
                self.put(self.chance.choice(issuer.token_from), text)
        else:
            self.bound = text if self.chance.random() < 0.05 else None
            self.put(self.chance.choice(issuer.token_from), text)

    def confirmation(self, issuer: Issuer) -> dict | None:
        """What the token is bound to; mostly what this issuer verifies."""
        found = {}
        if self.chance.random() < {"required": 0.9, "optional": 0.75, None: 0.04}[issuer.dpop]:
            found["jkt"] = thumbprint_of(*self.key)
        if self.chance.random() < 0.2:
            found["x5t#S256"] = self.chance.choice(self.certificates).thumbprint
        if self.chance.random() < 0.03:
            found = self.chance.choice([{}, {"jwk": {}}, {"x5t": "x"}, found | {"kid": "x"}, {"jkt": 5}, {"jkt": ["x"]}, {"x5t#S256": ""}, [], None, "x"])
            return found if found is not None else {"jkt": None}
        return found or None

    def made(self, issuer: Issuer, cnf: dict | None) -> str:
        chance = self.chance
        claims = claims_of(chance, issuer, self.somebody())
        header = {"typ": issuer.types[0]}
        if cnf is not None:
            claims["cnf"] = cnf
        if chance.random() < 0.7:
            claims["jti"] = chance.choice(NAMES)
        claims["iat"] -= chance.choice([0, 0, 60])
        if chance.random() < 0.4:
            odd_claims(chance, claims, list(self.configuration.identity.values()))
        algorithm = chance.choice(issuer.algorithms or ["HS256"])
        header |= {"alg": algorithm} | ({"kid": algorithm.lower()} if issuer.source == "jwks" else {})
        if chance.random() < 0.07:
            mistaken(chance, self.configuration, issuer, claims, header)
        text = keys.raw_token(
            json.dumps(header).encode(), with_numbers(json.dumps(claims)).encode(), algorithm,
            secret(issuer.owner) if algorithm.startswith("HS") else keys.key_for(algorithm, issuer.owner))
        return text if issuer.source != "introspection" else self.opaque(claims, text)

    def opaque(self, claims: dict, signed: str) -> str:
        """What the server says of it. Some servers are asked about tokens that look signed."""
        chance = self.chance
        text = f"{chance.choice(['o', 'o.p', 'a+b/c', '~'])}-{len(self.configuration.answers)}"
        text = signed if chance.random() < 0.15 else text
        answer = with_numbers(json.dumps({"active": True} | claims | said(chance)))
        status, answer = chance.choice([(200, answer)] * 14 + [
            (200, answer.replace("true", "false", 1)), (200, answer.replace("true", '"true"', 1)), (500, answer), (200, "<html>"),
            (200, answer + answer), (401, answer), (200, answer.replace("{", '{"sub":"bob",', 1)), (200, "[]")])
        self.configuration.answers.setdefault(text, (status, answer.encode()))
        return text


def said(chance: random.Random) -> dict:
    """What servers say of the kind of a token."""
    return chance.choice([{}] * 6 + [
        {"token_type": "Bearer"}, {"token_type": "DPoP", "token_use": "access_token"}, {"token_use": "refresh_token"}, {"typ": "Refresh"},
        {"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, {"token_usage": "access_token"}, {"typ": "logout+jwt"}, {"typ": "ID"},
        {"token_use": "id"}, {"typ": 5}, {"token_type": "N_A"}, {"exp": None}, {"token_use": ""}])


def thumbprint_of(algorithm: str, owner: str) -> str:
    return thumbprint(keys.jwk(keys.key_for(algorithm, owner)))


def request(chance: random.Random, configuration: Configuration, certificates: list[Certificate]) -> Request:
    made: list[KeysCredentials] = []

    def credentials(chance: random.Random, configuration: Configuration, route: Route, user: str) -> KeysCredentials:
        KeysCredentials.certificates = certificates
        made.append(KeysCredentials(chance, configuration, route, user))
        return made[0]
    if chance.random() < 0.06 and (earlier := one_of(chance, recent(configuration)[-20:])):
        return earlier
    asked = random_requests.request(chance, configuration, credentials)
    lock(chance, configuration, asked, certificates)
    if made[0].bound and chance.random() < 0.97:
        add_proof(chance, configuration, asked, made[0])
    drawn = apart(configuration, "navigate")
    if asked.method == "GET" and drawn.random() < 0.25:
        navigate(drawn, asked)
    configuration.requests.append((asked, time.time()))
    return asked


def navigate(chance: random.Random, asked: Request) -> None:
    """A browser that goes to a page, or almost."""
    fields = chance.choice([[("Sec-Fetch-Mode", "navigate")]] * 4 + [
        [("Accept", "text/html, */*;q=0.8")], [("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")], [("Sec-Fetch-Site", "none"), ("Accept", "text/html")]])
    asked.fields += [(name.lower(), value) for name, value in fields] if asked.listener.protocol == "h2" else fields


def recent(configuration: Configuration) -> list[Request]:
    return [asked for asked, sent in configuration.requests if time.time() - sent < AGAIN_SECONDS]


def one_of(chance: random.Random, values: list):
    """One draw, however many there are: what comes later does not depend on how fast the machine is."""
    place = chance.random()
    return values[int(place * len(values))] if values else None


def lock(chance: random.Random, configuration: Configuration, asked: Request, certificates: list[Certificate]) -> None:
    """Sent over TLS where it would not have been; with a certificate, which mostly is the token's."""
    if chance.random() < 0.3 and not asked.listener.trusts_peer:
        name = "locked-two" if asked.listener.protocol == "h2" else "locked"
        asked.listener = next(one for one in configuration.listeners if one.name == name)
    if asked.listener.client_auth:
        asked.certificate = chance.choice(certificates if asked.listener.client_auth == "required" else [*certificates, None])
    if asked.listener.client_auth and chance.random() < 0.6:
        # The one that the token names, where it names one.
        header = " ".join(asked.all("authorization"))
        for one in certificates:
            if one.thumbprint in bound_to(configuration, header):
                asked.certificate = one


def bound_to(configuration: Configuration, header: str) -> str:
    texts = [text for text in configuration.tokens if text in header]
    found = [configuration.answers[text][1].decode() for text in texts if text in configuration.answers]
    return " ".join(found + [keys.unb64(part).decode("latin-1") for text in texts for part in text.split(".")[1:2] if text not in configuration.answers])


def add_proof(chance: random.Random, configuration: Configuration, asked: Request, credentials: KeysCredentials) -> None:
    try:
        target = parse(asked.target, asked.host)
        url = seen_url(asked, target)
    except Refused:
        url = f"http://{asked.host}{asked.target}"
    proof = proof_of(chance, configuration, credentials, asked.method, url)
    if chance.random() < 0.03:
        proof = one_of(chance, [value for earlier in recent(configuration) for value in earlier.all("dpop")]) or proof
    name = chance.choice(["DPoP", "dpop", "DPOP"]) if asked.listener.protocol != "h2" else "dpop"
    asked.fields.append((name, proof))
    if chance.random() < 0.02:
        asked.fields.insert(0, (name, chance.choice([proof, "x"])))
    if chance.random() < 0.03 and asked.listener.protocol != "h2":
        asked.fields.append(("Connection", chance.choice(["DPoP", "authorization"])))


def proof_of(chance: random.Random, configuration: Configuration, credentials: KeysCredentials, method: str, url: str) -> str:
    algorithm, owner = credentials.key
    key = keys.key_for(algorithm, owner)
    body = {"jti": f"p-{chance.getrandbits(64):x}", "htm": method, "htu": url, "iat": int(time.time()), "ath": digest(credentials.bound)}
    header = {"typ": "dpop+jwt", "alg": algorithm, "jwk": keys.jwk(key)}
    if chance.random() < 0.9 and configuration.nonces:
        body["nonce"] = max(configuration.nonces)
    if chance.random() < 0.25:
        chance.choice(alike(chance, body) + [lambda: None])()
    if chance.random() < 0.3:
        chance.choice(mistakes(chance, header, body))()
    if chance.random() < 0.06:
        # Somebody else's, who has the token; or one who shows this key and has not got it.
        key = keys.key_for(algorithm, "third")
        header["jwk"] = chance.choice([keys.jwk(key), header.get("jwk")])
    text = keys.raw_token(json.dumps(header).encode(), json.dumps(body).encode(), algorithm, key)
    return text if chance.random() < 0.98 else chance.choice([text + "=", text + ".", text[:-1], text.replace(".", "..", 1), text[1:], "", "x", "a.b.c"])


def alike(chance: random.Random, body: dict) -> list:
    """Other spellings of the same URL, and what does not matter."""
    url = body["htu"]
    match = re.fullmatch("(https?)://([^/:]*)(:[0-9]+)?(/.*)", url)
    scheme, host, port, path = match.groups() if match else ("http", "usher.test", None, "/")
    return [
        lambda: body.update(htu=url + "?q=1"), lambda: body.update(htu=url + "#top"), lambda: body.update(htu=f"{scheme.upper()}://{host.upper()}{port or ''}{path}"),
        lambda: body.update(htu=f"{scheme}://{host}{port or (':443' if scheme == 'https' else ':80')}{path}"),
        lambda: body.update(htu=f"{scheme}://{host}{port or ':'}{path}"), lambda: body.update(iat=int(time.time()) - 60),
        lambda: body.update(iat=time.time()), lambda: body.update(more={"a": [1]}), lambda: body.update(nonce="of somebody else"),
        lambda: body.update(htu=re.sub("(?<=/)a", "%61", url)), lambda: body.update(htu=re.sub("%c", "%C", url)), lambda: body.update(iat=int(time.time()) + 10)]


def mistakes(chance: random.Random, header: dict, body: dict) -> list:
    now = int(time.time())
    of_another_request = [
        lambda: body.update(htm=chance.choice(["GET", "POST"])), lambda: body.update(iat=chance.choice([now - 400, now + 600])),
        lambda: body.update(htu=body["htu"] + "x"), lambda: body.update(ath="x" * 43)]
    return of_another_request * 4 + [
        lambda: body.update(htm=chance.choice(["PUT", "get", "", 5])), lambda: body.pop("htm"), lambda: body.pop("htu"), lambda: body.pop("jti"),
        lambda: body.pop("iat"), lambda: body.pop("ath"), lambda: body.update(ath=chance.choice(["x" * 43, "", 5])),
        lambda: body.update(iat=chance.choice([now - 200, now - 3600, now + 3600, "now", None, True])),
        lambda: body.update(jti=chance.choice(["", 5, None, ["x"]])), lambda: body.update(nonce=chance.choice([5, "", "x"])), lambda: body.pop("nonce", None),
        lambda: body.update(htu=chance.choice(["http://usher.test", "https://usher.test/", "usher.test/a", "/", "", 5, body["htu"] + "/", body["htu"] + "x",
                                               "http://u@usher.test/a", body["htu"].replace("://", ":///")])),
        lambda: header.update(typ=chance.choice(["JWT", "dpop", "", 5])), lambda: header.pop("typ"), lambda: header.pop("jwk"), lambda: header.pop("alg"),
        lambda: header.update(alg=chance.choice(["none", "HS256", "ES256", "RS256", "es256", 5])), lambda: header.update(crit=["x"]), lambda: header.update(b64=True),
        lambda: header.update(jwk=keys.jwk(keys.key_for("ES256", "third"))), lambda: header["jwk"].update(d="x"), lambda: header["jwk"].update(d=keys.b64(bytes(32))),
        lambda: header.update(jwk="x"),
        lambda: header["jwk"].update(kid="x"), lambda: header["jwk"].update(alg="RS256"), lambda: header["jwk"].update(use="enc"),
        lambda: header.update(kid="x", jku="http://127.0.0.1:1/"), lambda: header["jwk"].pop(chance.choice(sorted(header["jwk"])))]
