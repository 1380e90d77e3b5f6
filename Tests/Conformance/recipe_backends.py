"""The four kinds of backends that config/recipes/nextjs-*.toml are for, as small as they can be: `uvicorn recipe_backends:user_id`."""

import os
from typing import Annotated

import jwt
from fastapi import FastAPI, Header, HTTPException, Request


def seen(request: Request, user: str) -> dict:
    """Whom the backend takes the caller for, and what it was told besides."""
    names = {name: request.headers.getlist(name) for name in ("x-user-id", "authorization", "cookie", "origin")}
    return {"user": user, "path": request.url.path, **names}


# (a) reads X-User-Id
user_id = FastAPI()


@user_id.api_route("/tasks", methods=["GET", "POST"])
def by_header(request: Request, x_user_id: Annotated[str | None, Header()] = None):
    if not x_user_id:
        raise HTTPException(401)
    return seen(request, x_user_id)


# (b) verifies HS256 with BETTER_AUTH_SECRET itself, as many public backends do
hs256 = FastAPI()


@hs256.api_route("/api/tasks", methods=["GET", "POST"])
def by_token(request: Request, authorization: Annotated[str | None, Header()] = None):
    scheme, _, token = (authorization or "").partition(" ")
    try:
        claims = jwt.decode(token, os.environ["BETTER_AUTH_SECRET"], algorithms=["HS256"], options={"require": ["sub", "exp", "iat"]})
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, str(error)) from error
    if scheme != "Bearer" or claims.get("type") != "access" or claims["exp"] - claims["iat"] > 60:
        raise HTTPException(401, "another kind of token")
    return seen(request, claims["sub"])


# (c) believes the path
user_path = FastAPI()


@user_path.api_route("/api/{name}/tasks", methods=["GET", "POST"])
def by_path(request: Request, name: str):
    return seen(request, name)


# (d) lets in one service token, and reads X-User-Id
service_token = FastAPI()


@service_token.api_route("/api/tasks", methods=["GET", "POST"])
def by_service(request: Request, authorization: Annotated[str, Header()] = "", x_user_id: Annotated[str, Header()] = ""):
    if authorization != f"Bearer {os.environ['SERVICE_TOKEN']}" or not x_user_id:
        raise HTTPException(401)
    return seen(request, x_user_id)
