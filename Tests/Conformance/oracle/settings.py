"""A configuration as plain values: what the model reads, and what `written` makes a file of."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from .certificates import Certificate
from .network_keys import Network
from .revoked import Revoked


@dataclass
class Listener:
    name: str
    protocol: str = "http/1.1"
    trusted: list[str] = field(default_factory=list)  # the networks of trusted_proxies
    proxy_protocol: bool = False
    mode: str = "proxy"  # or "forward-auth", "redirect"
    redirect: str | None = None
    socket: str | None = None  # the path of a Unix socket
    port: int = 0
    client_auth: str | None = None  # TLS, with certificates of clients: "required" or "optional"

    @property
    def scheme(self) -> str:
        return "https" if self.client_auth else "http"

    @property
    def trusts_peer(self) -> bool:
        return bool(self.trusted)


@dataclass
class Upstream:
    name: str
    backend: int  # which of the recording backends
    authorization: str = "remove"  # "remove", "forward", "bearer", "mint"
    preserve_host: bool = True
    protocol: str = "http/1.1"


@dataclass
class Issuer:
    name: str
    iss: str
    audience: list[str]
    algorithms: list[str]
    source: str  # "secret", "public_key", "jwks", "introspection", "network"
    owner: str  # whose keys these are
    subject: list[str] = field(default_factory=lambda: ["sub"])
    types: list[str] = field(default_factory=lambda: ["JWT", "at+jwt"])
    required_type: bool = False
    refuse_claims: list[str] = field(default_factory=list)
    maximum_lifetime: int | None = None
    token_from: list[str] = field(default_factory=lambda: ["header"])
    trusted_origins: list[str] = field(default_factory=list)
    leeway: int = 30
    dpop: str | None = None
    dpop_lifetime: int = 60
    dpop_nonce: bool = False
    network: Network | None = None  # where its keys come from

    def names(self, kind: str) -> list[str]:
        """The cookies, or the parameters, in which it looks for tokens."""
        return [place.partition(":")[2] for place in self.token_from if place.startswith(kind + ":")]


@dataclass
class Session:
    name: str
    prefix: str = "better-auth"
    secure_cookies: bool = True
    trusted_origins: list[str] = field(default_factory=list)
    cache: str = "auto"  # the form of `session_data`, or "off"
    version: str = "1"
    issuer: str | None = None  # of a cache with a published key
    server: str | None = None  # the origin of the server that is asked
    published: list[str] = field(default_factory=list)  # the algorithms of its keys, each with its name in lower case as `kid`

    @property
    def issuers(self) -> list[str]:
        return [self.issuer] if self.issuer else [self.server, *self.trusted_origins]

    @property
    def place(self) -> str:
        """The path of its API at that server."""
        return f"/{self.name}/api/auth"


@dataclass
class CORS:
    name: str
    origins: list[str]
    credentials: bool = False
    methods: list[str] = field(default_factory=lambda: ["GET", "HEAD", "POST"])
    headers: list[str] = field(default_factory=list)
    expose_headers: list[str] = field(default_factory=list)
    max_age: int | None = None  # seconds


@dataclass
class Limit:
    """So many at once, and nothing to speak of comes back while a test lasts."""

    name: str
    key: str  # "user", "address"
    burst: int


@dataclass
class Route:
    path: str
    upstream: str
    names: list[str] = field(default_factory=list)  # of issuers and sessions; none: `auth = "none"`
    optional: bool = False
    hosts: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    require: list[dict[str, list[str]]] = field(default_factory=list)  # any of the tables
    scopes: list[str] = field(default_factory=list)
    denied: int = 403
    cors: str | None = None
    rate_limit: str | None = None
    sign_in: str | None = None
    redirect: str | None = None
    strip_prefix: str | None = None

    @property
    def segments(self) -> list[str]:
        return self.path[1:].split("/")

    @property
    def asks_for_somebody(self) -> bool:
        """Whether a request without credentials is refused."""
        return bool(self.names) and (not self.optional or bool(self.require) or bool(self.scopes))


@dataclass
class SessionAnswer:
    """What the server says of a session."""

    status: int
    body: bytes
    cookies: list[str] = field(default_factory=list)


@dataclass
class Question:
    """About a session."""

    about: tuple[str, str, str]  # the session's name; "cookie" or "bearer"; the value
    token: str
    fields: dict[str, list[str]]
    told: SessionAnswer
    is_sure: bool = True  # a no may be remembered, and how long the documentation does not say


@dataclass
class Configuration:
    listeners: list[Listener]
    upstreams: dict[str, Upstream]
    issuers: dict[str, Issuer]
    sessions: dict[str, Session]
    cors: dict[str, CORS]
    routes: list[Route]
    identity: dict[str, str]
    strip: list[str]
    tokens: list[str] = field(default_factory=list)  # those of earlier requests
    limits: dict[str, Limit] = field(default_factory=dict)
    access: str = "off"
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # status and body of the server that is asked, by token
    server: int = 0  # its port
    revoked: Revoked = field(default_factory=Revoked)
    proofs: set[tuple[str, str]] = field(default_factory=set)  # used up: the key's thumbprint, `jti`
    nonces: set[str] = field(default_factory=set)  # that the program has given
    requests: list[tuple[Request, float]] = field(default_factory=list)  # earlier ones, and when
    told: dict[str, SessionAnswer] = field(default_factory=dict)  # what the server that is asked about sessions says, by the session's token
    outage: SessionAnswer | None = None  # what it says meanwhile, whatever it is asked
    verdicts: dict[tuple[str, str, str], SessionAnswer] = field(default_factory=dict)  # what it has said, by Question.about

    def issuers_of(self, route: Route) -> list[Issuer]:
        return [self.issuers[name] for name in route.names if name in self.issuers]

    def sessions_of(self, route: Route) -> list[Session]:
        return [self.sessions[name] for name in route.names if name in self.sessions]


@dataclass
class Request:
    listener: Listener
    method: str
    target: str
    host: str
    fields: list[tuple[str, str]]
    body: bytes | None = None
    source: str | None = "127.0.0.1"  # the address of its socket; None: a Unix socket has none
    preface: bytes = b""  # a PROXY header
    opens_tunnel: bool = False  # a handshake of WebSocket
    certificate: Certificate | None = None  # that the connection was opened with
    questions: list[Question] = field(default_factory=list)  # put to servers on its behalf
    fetches: list[str] = field(default_factory=list)  # whose keys it is a reason to fetch
    trailers: list[tuple[str, str]] = field(default_factory=list)  # behind the body, which then has no length

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


class Refused(Exception):
    """An answer that the proxy makes itself. More than one code: the documentation leaves open which."""

    def __init__(self, status: int, *codes: str):
        super().__init__(status, *codes)
        self.status, self.codes = status, codes
        self.errors: tuple[str, ...] | None = None  # of `WWW-Authenticate`, where they are compared


@dataclass
class Forwarded:
    """What a backend gets."""

    upstream: Upstream
    method: str
    target: str
    fields: dict[str, list[str]]  # names in lower case
    minted_for: str | None = None


@dataclass
class Answered:
    """What the proxy answers, and what pages of another origin are told of it."""

    status: int
    codes: tuple[str, ...]
    errors: tuple[str, ...] | None = None


def with_settings(function, position: int, **changes):
    """The same function, told other settings than there are."""
    def told(*given):
        changed = copy.copy(given[position])
        vars(changed).update(changes)
        return function(*given[:position], changed, *given[position + 1:])
    return told
