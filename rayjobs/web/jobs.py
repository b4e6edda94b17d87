"""Routes of jobs: start, list, look at, kill; their configurations and logs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rayjobs.binary_names import DEPENDENT_JARS, names_under
from rayjobs.context_settings import PROXY_USER
from rayjobs.errors import BadConfig, BadParameter
from rayjobs.records import JOB_ID, JobInfo, JobReply
from rayjobs.repetition import job_id_of
from rayjobs.service import JobService, Submission
from rayjobs.settings import Settings
from rayjobs.states import JobState
from rayjobs.trees import names_of
from rayjobs.web import params, render
from rayjobs.web.callbacks import callback_url
from rayjobs.web.paths import segment

DEFAULT_LIMIT = 50
MAX_KEY_LENGTH = 255


class JobRoutes:
    def __init__(self, service: JobService, settings: Settings):
        self._service = service
        self._settings = settings

    def routes(self) -> list[Route]:
        return [
            Route("/jobs", self.list_all, methods=["GET"]),
            Route("/jobs", self.start, methods=["POST"]),
            Route("/jobs/{id}", self.get, methods=["GET"]),
            Route("/jobs/{id}", self.kill, methods=["DELETE"]),
            Route("/jobs/{id}/config", self.config, methods=["GET"]),
            Route("/jobs/{id}/log", self.log, methods=["GET"]),
        ]

    async def list_all(self, request: Request) -> Response:
        limit = params.integer(request, "limit", minimum=0)
        status = (params.text(request, "status") or "").upper()
        if status and status not in JobState.__members__:
            return render.Json([])
        state = JobState(status) if status else None
        jobs = await self._service.list_jobs(DEFAULT_LIMIT if limit is None else limit, state)
        return render.Json([render.job_report(job) for job in jobs])

    async def start(self, request: Request) -> Response:
        """A client that goes away meanwhile changes nothing: the job, and the wait for it, go on."""
        is_sync = params.boolean(request, "sync")
        timeout_s = params.integer(request, "timeout", minimum=1 if is_sync else 0)
        config = await params.config_of(await params.body_text(request, self._settings.max_body_bytes))
        url = callback_url(request)
        (app_name, *dependencies), class_path = _code(request, config)
        wait_s = self._settings.sync_timeout_s if timeout_s is None else float(timeout_s)
        given_id = _given_id(request)
        submission = Submission(
            job_id=given_id or str(uuid4()),
            app_name=app_name,
            class_path=class_path,
            context=params.text(request, "context"),
            config=config,
            wait_s=wait_s if is_sync else 0.0,
            callback_url=url,
            may_be_repeated=given_id is not None,
            proxy_user=params.text(request, PROXY_USER),
            dependencies=tuple(dependencies),
        )
        reply = await self._service.start_job(submission)
        return _sync_answer(reply) if is_sync else _async_answer(reply.job)

    async def get(self, request: Request) -> Response:
        return render.job_with_result(await self._service.get_job(segment(request, "id")))

    async def kill(self, request: Request) -> Response:
        job = await self._service.kill_job(segment(request, "id"))
        if job.state is JobState.ERROR:
            return render.Json({"status": job.state, "ERROR": render.error_fields(job.error)})
        return render.Json({"status": JobState.KILLED})

    async def config(self, request: Request) -> Response:
        return render.PrettyJson(await self._service.job_config(segment(request, "id")))

    async def log(self, request: Request) -> Response:
        log = await self._service.job_log(segment(request, "id"))
        return Response(log, media_type="text/plain; charset=utf-8")


def _code(request: Request, config: dict[str, Any]) -> tuple[list[str], str]:
    """Binaries, the main one first, and class of a job: `appName` and `classPath`, or else `cp` and `mainClass`.

    The config's `dependent-jar-uris` come last. Raises `BadConfig` for what is missing.
    """
    dependencies = names_under(DEPENDENT_JARS, config)
    app_name, class_path = params.text(request, "appName"), params.text(request, "classPath")
    if app_name:
        if not class_path:
            raise BadConfig("Cannot parse config: classPath parameter is missing!")
        return [app_name, *dependencies], class_path
    binaries = names_of(params.text(request, "cp") or config.get("cp") or "")
    if not binaries:
        raise BadConfig("Cannot parse config: To start the job appName or cp parameters should be configured!")
    main_class = params.text(request, "mainClass") or config.get("mainClass")
    if not main_class:
        raise BadConfig("Cannot parse config: mainClass parameter is missing!")
    return binaries + dependencies, str(main_class)


def _given_id(request: Request) -> str | None:
    """The id that the caller chose: as `jobId`, or by an `Idempotency-Key`; raises `BadParameter`."""
    job_id, key = params.text(request, "jobId"), request.headers.get("idempotency-key")
    if job_id and key:
        raise BadParameter("jobId and Idempotency-Key are two ways to say the same: give one of them")
    if job_id and not re.fullmatch(JOB_ID, job_id):
        raise params.malformed("jobId", f"'{job_id}' does not match {JOB_ID}")
    if key is not None and not 0 < len(key) <= MAX_KEY_LENGTH:
        raise BadParameter(f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} characters")
    return job_id_of(key) if key else job_id


def _async_answer(job: JobInfo) -> Response:
    """The job as it was when it was accepted, however far it got meanwhile."""
    if job.state in (JobState.ERROR, JobState.KILLED):
        return _failed(job)
    return render.Json(render.job_report(replace(job, state=JobState.STARTED, end_time=None, error=None)), 202)


def _sync_answer(reply: JobReply) -> Response:
    job = reply.job
    if job.state in (JobState.ERROR, JobState.KILLED):
        return _failed(job)
    if job.state is JobState.FINISHED:
        fields = {"jobId": job.job_id, "status": job.state, "duration": render.duration(job)}
        return render.JsonWithResult(fields, reply.result_json)
    return render.Json(render.job_report(job), 202, {"Location": f"/jobs/{job.job_id}"})


def _failed(job: JobInfo) -> Response:
    return render.Json({"jobId": job.job_id, "status": job.state, "result": render.error_fields(job.error)})
