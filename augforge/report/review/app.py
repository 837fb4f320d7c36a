"""What answers the page of a review: cases, pictures, verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from augforge.engine.verdicts import Conflict
from augforge.errors import AugforgeError, visible
from augforge.recipe.recipe import Verdict
from augforge.report.html.page import render_page
from augforge.report.review.desk import Desk

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

_MOST_BYTES = 100_000
"""Of a verdict that is sent: a reason is a sentence."""


class Judgement(BaseModel):
    """What the page sends: a verdict on a sample, and the one that the person saw before; null for none."""

    model_config = ConfigDict(extra="forbid")

    name: str
    verdict: Verdict | None
    seen: Verdict | None


def review_app(desk: Desk) -> Starlette:
    """What answers the requests of a desk's page.

    ``/`` is the page, ``cases`` all cases with the verdicts, ``verdicts`` those alone, ``picture/3`` the picture of a
    case, and ``verdict`` takes one. A conflict is answered with status 409 and the verdict that stands in the file.
    """
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    page = render_page(
        "review.html.j2", "review.js", name=desk.name, file=str(desk.file.path), note=desk.note, kinds=desk.kinds()
    )

    def show_page(request: Request) -> Response:
        return HTMLResponse(page)

    def list_cases(request: Request) -> Response:
        return _answer(lambda: {"cases": desk.list_cases(), "verdicts": desk.verdicts()})

    def list_verdicts(request: Request) -> Response:
        return _answer(lambda: {"verdicts": desk.verdicts()})

    def show_picture(request: Request) -> Response:
        return _answer(lambda: desk.picture(request.path_params["number"]))

    def _answer(find: Any) -> JSONResponse:
        try:
            return JSONResponse(find())
        except IndexError:
            return JSONResponse({"error": "there is no such case"}, 404)
        except AugforgeError as error:
            return JSONResponse({"error": visible(str(error))}, 500)

    async def take_verdict(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        body = await _read_body(request)
        if body is None:
            return JSONResponse({"error": "the verdict is too long"}, 413)
        return await run_in_threadpool(_judge, desk, body)

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/cases", list_cases),
            Route("/verdicts", list_verdicts),
            Route("/picture/{number:int}", show_picture),
            Route("/verdict", take_verdict, methods=["POST"]),
        ]
    )


async def _read_body(request: Request) -> bytes | None:
    """The body of a request; None if it is longer than any verdict."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            return None
    return body


def _judge(desk: Desk, body: bytes) -> JSONResponse:
    from starlette.responses import JSONResponse

    try:
        said = Judgement.model_validate_json(body)
        desk.judge(said.name, said.verdict, said.seen)
    except ValidationError:
        return JSONResponse({"error": "expected {name, verdict, seen}"}, 400)
    except KeyError:
        return JSONResponse({"error": "there is no such case"}, 404)
    except Conflict as conflict:
        present = conflict.present.model_dump() if conflict.present else None
        return JSONResponse({"error": str(conflict), "present": present}, 409)
    except AugforgeError as error:
        return JSONResponse({"error": visible(str(error))}, 500)
    return JSONResponse({"verdicts": desk.verdicts()})
