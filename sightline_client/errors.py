"""What the client raises.

SightlineError
├── ConnectionFailed    no server answered, however often it was asked
├── AnswerInvalid       what answers is no Sightline server, or one of another version
├── RequestRefused      the server answered with a problem
│   └── NotFound            there is no such collection, item, job, generation or model
├── JobFailed           a job that was waited for did not succeed
└── IngestStopped       the server was lost while items were sent; tells how far it came
"""

from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError

from sightline_client.results import Job, Problem

if TYPE_CHECKING:
    from sightline_client.ingest import IngestReport


class SightlineError(Exception):
    """Base of what the client raises."""


class ConnectionFailed(SightlineError):
    """No server answered, however often it was asked."""


class AnswerInvalid(SightlineError):
    """What answers is no Sightline server, or one of another version."""


class RequestRefused(SightlineError):
    """The server answered with a problem.

    Attributes:
        status: Of the answer.
        problem: The answer; its `type` is a stable word, its `errors` name the fields at fault.
        request_id: What the server's log calls the request.
    """

    def __init__(self, status: int, problem: Problem, request_id: str | None = None) -> None:
        super().__init__(f"{problem.title}: {problem.detail}")
        self.status = status
        self.problem = problem
        self.request_id = request_id

    @classmethod
    def of(cls, response: httpx.Response) -> "RequestRefused":
        """From an answer whose body has been read."""
        status = response.status_code
        kind = NotFound if status == HTTPStatus.NOT_FOUND else RequestRefused
        return kind(status, _problem_of(response), response.headers.get("x-request-id"))


class NotFound(RequestRefused):
    """There is no such collection, item, job, generation or model."""


class JobFailed(SightlineError):
    """A job that was waited for failed or was cancelled; `job` tells."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} {job.state}" + (f": {job.error.detail}" if job.error else ""))
        self.job = job


class IngestStopped(SightlineError):
    """The server was lost, or refused the key, while items were sent: the first `report.done` of them were answered."""

    def __init__(self, report: "IngestReport", cause: SightlineError) -> None:
        super().__init__(f"stopped after {report.done} items: {cause}")
        self.report = report


def _problem_of(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:  # of a proxy, perhaps
        status = response.status_code
        return Problem(type="unknown", title=f"Status {status}", status=status, detail=response.text[:500])
