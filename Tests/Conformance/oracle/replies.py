"""What an answer says to browsers: to pages of other origins (`cors`), where to sign in (`sign_in`), where the same place is over TLS
(`redirect`)."""

from __future__ import annotations

import urllib.parse

from . import pages, places, questions
from .settings import CORS, Configuration, Request, Route
from .targets import Target

LONGEST = 1024


def cross_origin(rule: CORS, request: Request, is_preflight: bool) -> dict[str, str]:
    """A listed origin is told, and no other."""
    told = pages.allowed_origin(rule, request.first("origin"))
    if told is None:
        return {}
    fields = {"access-control-allow-origin": told}
    if rule.credentials:
        fields["access-control-allow-credentials"] = "true"
    if is_preflight:
        fields["access-control-allow-methods"] = ", ".join(rule.methods)
        if rule.headers:
            fields["access-control-allow-headers"] = ", ".join(rule.headers)
        if rule.max_age is not None:
            fields["access-control-max-age"] = str(rule.max_age)
    if rule.expose_headers:
        fields["access-control-expose-headers"] = ", ".join(rule.expose_headers)
    return fields


def vary(rule: CORS | None, backends: list[str]) -> list[str]:
    """One line, which names `Origin`, where a rule is not for every page; else what the backend says."""
    if rule is None or rule.origins == ["*"]:
        return backends
    names = [name.strip(" \t").lower() for value in backends for name in value.split(",")]
    named = [value for value in backends if value]
    return [", ".join(named if "*" in names or "origin" in names else [*named, "Origin"])]


def navigates(request: Request) -> bool:
    """A browser that goes to a page: it says so, or, where it says nothing of the kind, takes HTML."""
    if request.method != "GET" or questions.is_handshake(request):
        return False
    if modes := request.all("sec-fetch-mode"):
        return set(modes) == {"navigate"}
    if request.all("sec-fetch-site"):
        return False
    accepted = [part.partition(";")[0].strip(" \t").lower() for value in request.all("accept") for part in value.split(",")]
    return "text/html" in accepted


def sign_in(configuration: Configuration, request: Request, target: Target, route: Route) -> str:
    """The page, with the way back in its query: path and query of the request, never a host."""
    back = target.path + ("" if target.query is None else "?" + target.query)
    back = without_tokens(configuration, route, back)
    if len(back) > LONGEST:
        back = "/"
    page, mark, fragment = route.sign_in.partition("#")
    return f"{page}{'&' if '?' in page else '?'}return_to={urllib.parse.quote(back, safe='')}{mark}{fragment}"


def without_tokens(configuration: Configuration, route: Route, back: str) -> str:
    names = [name for issuer in configuration.issuers_of(route) for name in issuer.names("query")]
    return places.without_parameters(back, names)


def over_tls(where: str, target: Target) -> str:
    """The same host, path and query; another port where the configuration names one."""
    host = target.authority.partition(":")[0].removesuffix(".")
    return f"{where.replace('https', 'https://' + host, 1)}{target.path}{'' if target.query is None else '?' + target.query}"
