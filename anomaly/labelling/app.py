"""The web application: who may do what, by which address."""

# Annotations are read when the application is made, so they are not deferred.

from collections.abc import Callable
from importlib import resources
from typing import Annotated, Any

from anomaly.errors import AnomalyError, DataError
from anomaly.labelling.guard import Guard
from anomaly.labelling.identity import Annotator, Gate
from anomaly.labelling.page import LONGEST_KIND, Desk, enter

try:
    from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
    from pydantic import BaseModel, Field
except ImportError as error:
    raise AnomalyError("the labelling page needs its packages: pip install 'anomaly[label]'") from error

_FILES = {
    "session.js": "text/javascript",
    "queue.js": "text/javascript",
    "session.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_YEAR = 365 * 86400


class Word(BaseModel):
    """What somebody says of a case; `stay` names the case that is on screen already, in place of a next one."""

    key: str = Field(min_length=8, max_length=64)
    item: str = Field(min_length=1)
    verdict: str = Field(max_length=16)
    typology: str | None = Field(None, max_length=LONGEST_KIND)
    confidence: float | None = Field(None, ge=0, le=1)
    note: str | None = Field(None, max_length=4000)
    duration_ms: int | None = Field(None, ge=0, le=10**10)
    stay: str | None = None


class Undo(BaseModel):
    """Taking back what was said last."""

    key: str = Field(min_length=8, max_length=64)


class Named(BaseModel):
    """A case by its id."""

    item: str = Field(min_length=1)


class Spares(BaseModel):
    """The cases that a page keeps already."""

    have: list[str] = Field(default_factory=list, max_length=20)


def create_app(desk: Desk, gate: Gate, *, port: int) -> FastAPI:
    """Return the application of one session.

    Parameters
    ----------
    port : names the cookie, so that sessions on other ports of one host do not mix
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, loopback=not gate.guarded)
    cookie = f"anomaly_{port}"

    def somebody(request: Request) -> Annotator:
        found = gate.who(request.cookies.get(cookie))
        if found is None:
            raise HTTPException(401, "enter first")
        return found

    def trusted(request: Request) -> Annotator:
        found = somebody(request)
        if not gate.is_form_token(found, request.headers.get("x-form-token")):
            raise HTTPException(403, "this form is not from a page of this session")
        return found

    def lead(annotator: Annotated[Annotator, Depends(somebody)]) -> Annotator:
        if not annotator.lead:
            raise HTTPException(403, "only a lead settles disagreements")
        return annotator

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> Response:
        # Without what was sent, which may be no text that an answer can hold.
        told = [f"{found['loc'][-1]}: {found['msg']}" for found in error.errors()]
        return JSONResponse({"detail": "; ".join(told)}, 422)

    @app.exception_handler(DataError)
    def unusable(_: Request, error: DataError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(AnomalyError)
    def unavailable(_: Request, error: AnomalyError) -> Response:
        return JSONResponse({"detail": str(error)}, 503)

    _add_doors(app, desk, gate, cookie, trusted)
    _add_cases(app, desk, somebody, trusted)
    _add_lists(app, desk, somebody, lead)
    return app


def _add_doors(app: FastAPI, desk: Desk, gate: Gate, cookie: str, trusted: Callable[..., Annotator]) -> None:
    """Add entering, leaving, and the files of the page."""

    @app.get("/")
    def shell(request: Request) -> Response:
        annotator = gate.who(request.cookies.get(cookie))
        if annotator is None:
            return RedirectResponse("/enter", 303)
        inside = desk.case(annotator, desk.session.next(annotator.name))
        return HTMLResponse(desk.shell(annotator, gate, inside))

    @app.get("/enter")
    def door(token: str = "") -> Response:
        return HTMLResponse(enter(desk.title, guarded=gate.guarded, token=token[:100]))

    @app.post("/enter")
    def let_in(request: Request, name: Annotated[str, Form()] = "", token: Annotated[str, Form()] = "") -> Response:
        try:
            annotator = gate.admit(name, token)
        except DataError as error:
            return HTMLResponse(enter(desk.title, guarded=gate.guarded, token=token, name=name, wrong=str(error)), 400)
        if annotator is None:
            wrong = "This token does not open the session."
            return HTMLResponse(enter(desk.title, guarded=gate.guarded, name=name, wrong=wrong), 403)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            cookie, gate.cookie(annotator), max_age=_YEAR, httponly=True, samesite="strict", secure=secure
        )
        return answer

    @app.post("/leave")
    def leave(annotator: Annotated[Annotator, Depends(trusted)]) -> Response:
        desk.session.leave(annotator.name)
        answer = Response(status_code=204)
        answer.delete_cookie(cookie, httponly=True, samesite="strict")
        return answer

    @app.get("/static/{name}")
    def file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404)
        body = resources.files("anomaly.labelling").joinpath("static", name).read_bytes()
        return Response(body, media_type=_FILES[name], headers={"cache-control": "no-cache"})


def _add_cases(app: FastAPI, desk: Desk, somebody: Callable[..., Annotator], trusted: Callable[..., Annotator]) -> None:
    """Add cases out, words in."""
    session = desk.session

    def following(annotator: Annotator) -> Response:
        return HTMLResponse(desk.case(annotator, session.next(annotator.name)))

    @app.get("/case")
    def case(annotator: Annotated[Annotator, Depends(somebody)]) -> Response:
        return following(annotator)

    @app.post("/say")
    def say(word: Word, annotator: Annotated[Annotator, Depends(trusted)]) -> Response:
        if word.stay is not None and word.stay not in session.places:
            raise DataError(f"stay={word.stay!r}: no such item in this session")
        said = word.model_dump(exclude={"item", "verdict", "stay"})
        session.say(annotator.name, word.item, word.verdict, lead=annotator.lead, **said)
        if word.stay is None:
            return following(annotator)
        session.open(annotator.name, word.stay, lead=annotator.lead)
        return Response(status_code=204)

    @app.post("/undo")
    def undo(word: Undo, annotator: Annotated[Annotator, Depends(trusted)]) -> Response:
        taken_back = session.undo(annotator.name, key=word.key)
        answer = following(annotator)
        answer.headers["x-undone"] = "1" if taken_back else "0"
        return answer

    @app.post("/open")
    def open_(named: Named, annotator: Annotated[Annotator, Depends(trusted)]) -> Response:
        lease = session.open(annotator.name, named.item, lead=annotator.lead)
        if lease is None:
            raise HTTPException(409, "somebody else has this case open")
        return HTMLResponse(desk.case(annotator, lease))

    @app.post("/ask")
    def ask(named: Named, annotator: Annotated[Annotator, Depends(trusted)]) -> Response:
        if named.item not in session.places:
            raise HTTPException(404, "no such item")
        session.ask(annotator.name, named.item)
        return HTMLResponse(desk.score(annotator, named.item))

    @app.get("/reasons")
    def reasons(annotator: Annotated[Annotator, Depends(somebody)], item: str = "") -> Response:
        if item not in session.places:
            raise HTTPException(404, "no such item")
        told = desk.reasons(item)
        return HTMLResponse(told) if told else Response(status_code=204)

    @app.post("/renew")
    def renew(annotator: Annotated[Annotator, Depends(trusted)]) -> Response:
        session.leases.renew(annotator.name)
        return Response(status_code=204)

    @app.post("/spares")
    def spares(kept: Spares, annotator: Annotated[Annotator, Depends(trusted)]) -> list[dict[str, Any]]:
        held = session.spares(annotator.name, desk.spares)
        return [
            {"item": lease.item, "html": None if lease.item in kept.have else desk.case(annotator, lease)}
            for lease in held
        ]


def _add_lists(app: FastAPI, desk: Desk, somebody: Callable[..., Annotator], lead: Callable[..., Annotator]) -> None:
    """Add what is looked for, and what waits for a lead."""

    @app.get("/search")
    def search(annotator: Annotated[Annotator, Depends(somebody)], q: str = "") -> Response:
        return HTMLResponse(desk.found(q[:200]))

    @app.get("/disputes")
    def disputes(annotator: Annotated[Annotator, Depends(lead)]) -> Response:
        return HTMLResponse(desk.disputes())
