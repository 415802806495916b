"""The page for people, at `/`, and the description of the interface, at `/docs`."""

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles

_FILES = StaticFiles(packages=[("lmserve.service", "page")])
_HEADERS = {
    # Nothing but what this server sends is loaded or run, and no text becomes markup.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, but asked after every time, by the ETag: a new version's files are not mixed with old.
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    """Type a text and see what each model expected."""
    return await _file("index.html", request)


@router.get("/docs")
async def interface(request: Request) -> Response:
    """`/openapi.json`, to be read."""
    return await _file("docs.html", request)


@router.get("/page/{name}")
async def part(name: str, request: Request) -> Response:
    """What the pages are made of; 404 for anything else."""
    return await _file(name, request)


async def _file(name: str, request: Request) -> Response:
    """A file, or 304 where the client has it."""
    response = await _FILES.get_response(name, request.scope)
    response.headers.update(_HEADERS)
    return response
