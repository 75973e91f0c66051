"""The API server through the official client: plain documents in and out, and errors that a person can act on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from components.errors import PreflowError, UserError
from flows.kubernetes.cluster import Cluster

Document = dict[str, Any]
Watched = tuple[list[Document], str]

TIMEOUT = (5.0, 30.0)  # seconds to connect, seconds without a byte
PROPAGATION = "Background"  # always given: without it a deleted Job leaves its pods running


class Unreachable(PreflowError):
    """The API server does not answer, or says that it cannot now: trying again may help."""


class Denied(UserError):
    """The API server knows who asks, and that is not allowed (or it does not know)."""


class Refused(UserError):
    """The API server will not take this document, however often it is sent."""


class Terminating(Denied):
    """The namespace is being deleted: nothing new can be made in it."""


class Gone(PreflowError):
    """The resourceVersion of a watch is too old (410): list again."""


class Exists(PreflowError):
    """An object of this name is there already (409)."""


class Api:
    """One namespace of one cluster. Nothing is contacted before the first call."""

    def __init__(self, cluster: Cluster) -> None:
        self.namespace, self.context = cluster.namespace, cluster.context

    @cached_property
    def _client(self) -> Any:
        from kubernetes import client, config
        from kubernetes.config import ConfigException

        configuration = client.Configuration()
        try:
            if _in_cluster():  # a flow that runs in a pod: the context of a profile is for people's machines
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                config.load_kube_config(  # type: ignore[no-untyped-call]
                    os.environ.get("KUBECONFIG"),  # read now: the client has read it when it was imported
                    context=self.context or None,
                    client_configuration=configuration,
                )
        except ConfigException as error:
            raise UserError(
                f"kubernetes: no cluster is configured ({_line(str(error))}). Set KUBECONFIG, or name a context of it "
                "in the profile."
            ) from error
        configuration.retries = False  # ours to decide
        return client.ApiClient(configuration)

    @cached_property
    def _batch(self) -> Any:
        from kubernetes import client

        return client.BatchV1Api(self._client)

    @cached_property
    def _core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self._client)

    @cached_property
    def host(self) -> str:
        return str(self._client.configuration.host)

    @cached_property
    def version(self) -> tuple[int, int]:
        """(major, minor) of the server."""
        from kubernetes import client

        found = self._json("get version", client.VersionApi(self._client).get_code)
        return int(found["major"]), int(re.sub(r"\D", "", found["minor"]))

    # ---- Jobs

    def jobs(self, selector: str) -> Watched:
        """(Jobs, resourceVersion)."""
        return self._list("list jobs", self._batch.list_namespaced_job, selector)

    def job(self, name: str) -> Document | None:
        return self._found("get jobs", self._batch.read_namespaced_job, name)

    def create_job(self, document: Document, *, dry_run: bool = False) -> Document:
        """The object as the server understood it. Raises Exists, Refused, Denied, Unreachable.

        Strict validation is asked for (servers older than 1.25 ignore that: compare what comes back).
        """
        more = {"dry_run": "All"} if dry_run else {}
        return self._json(
            "create jobs",
            self._batch.create_namespaced_job,
            self.namespace,
            document,
            field_validation="Strict",
            **more,
        )

    def annotate_job(self, name: str, annotations: dict[str, str]) -> Document | None:
        return self._found(
            "patch jobs", self._batch.patch_namespaced_job, name, {"metadata": {"annotations": annotations}}
        )

    def delete_job(self, name: str, uid: str = "") -> None:
        """Delete a Job (the one with this uid) and its pods, which get their grace period; nothing if it is gone."""
        body: Document = {"propagationPolicy": PROPAGATION}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._json("delete jobs", self._batch.delete_namespaced_job, name, self.namespace, body=body)
        except (_Missing, Exists):
            return

    # ---- pods, events, services

    def pods(self, selector: str) -> Watched:
        return self._list("list pods", self._core.list_namespaced_pod, selector)

    def events(self, uid: str) -> list[Document]:
        """Events about one object, oldest first."""
        call = self._core.list_namespaced_event
        found = self._json("list events", call, self.namespace, field_selector=f"involvedObject.uid={uid}")
        return sorted(found["items"], key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")

    def create_service(self, document: Document) -> None:
        call = self._core.create_namespaced_service
        self._json("create services", call, self.namespace, document, field_validation="Strict")

    def follow_log(self, pod: str, container: str, seconds: int = 0) -> Iterator[str]:
        """Lines `TIMESTAMP text` (of the last `seconds`, if given) as they are written, until the container ends."""
        more = {"since_seconds": seconds} if seconds else {}
        response = self._call(
            "get pods/log",
            self._core.read_namespaced_pod_log,
            pod,
            self.namespace,
            container=container,
            follow=True,
            timestamps=True,
            _request_timeout=(TIMEOUT[0], 3600.0),
            **more,
        )
        yield from _lines(response)

    def log_tail(self, pod: str, container: str, lines: int = 60) -> list[str]:
        """The last lines of a container's log; empty if there is none (any more)."""
        call = self._core.read_namespaced_pod_log
        try:
            response = self._call("get pods/log", call, pod, self.namespace, container=container, tail_lines=lines)
        except (_Missing, Refused):
            return []
        text: str = response.data.decode("utf-8", errors="replace")
        return text.splitlines()

    # ---- watching

    def watch(self, kind: str, selector: str, version: str, seconds: int) -> Iterator[Document]:
        """Events {"type", "object"} of `jobs` or `pods` after `version`, for at most `seconds`. Raises Gone."""
        call = self._batch.list_namespaced_job if kind == "jobs" else self._core.list_namespaced_pod
        response = self._call(
            f"watch {kind}",
            call,
            self.namespace,
            label_selector=selector,
            resource_version=version,
            watch=True,
            timeout_seconds=seconds,
            _request_timeout=(TIMEOUT[0], seconds + 15.0),
        )
        for line in _lines(response):
            event = json.loads(line)
            if event["type"] == "ERROR":
                code = event["object"].get("code")
                message = event["object"].get("message", "")
                raise (Gone if code == 410 else Unreachable)(f"watch {kind}: {message}")
            yield event

    # ---- what is allowed and what is there

    def may(self, verb: str, group: str, resource: str, subresource: str = "") -> bool:
        """Whether whoever asks may do this in the namespace (the server's own answer)."""
        from kubernetes import client

        wanted = {
            "namespace": self.namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            **({"subresource": subresource} if subresource else {}),
        }
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        call = client.AuthorizationV1Api(self._client).create_self_subject_access_review
        answer = self._json("review access", call, {**body, "spec": {"resourceAttributes": wanted}})
        return bool(answer["status"].get("allowed"))

    def custom(self, group: str, version: str, plural: str, name: str) -> Document | None:
        """A custom resource of the namespace; None if it, or its kind, is not there."""
        from kubernetes import client

        call = client.CustomObjectsApi(self._client).get_namespaced_custom_object
        try:
            return self._json(f"get {plural}.{group}", call, group, version, self.namespace, plural, name)
        except _Missing:
            return None

    # ---- calling

    def _list(self, what: str, call: Callable[..., Any], selector: str) -> Watched:
        found = self._json(what, call, self.namespace, label_selector=selector)
        return found["items"], found["metadata"]["resourceVersion"]

    def _found(self, what: str, call: Callable[..., Any], name: str, *arguments: Any) -> Document | None:
        try:
            return self._json(what, call, name, self.namespace, *arguments)
        except _Missing:
            return None

    def _json(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Document:
        answer: Document = json.loads(self._call(what, call, *arguments, **options).data)
        return answer

    def _call(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        from kubernetes.client.exceptions import ApiException
        from pydantic import ValidationError
        from urllib3.exceptions import HTTPError

        options = {"_request_timeout": TIMEOUT, "_preload_content": False, **options}
        try:
            return call(*arguments, **options)
        except ApiException as error:
            raise self._translated(what, error) from error
        except ValidationError as error:  # the client knows every field of what it sends
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"][1:])
            raise Refused(
                f"kubernetes: {what}: {field}: {first['msg']}. Change k8s/job.yaml or the profile."
            ) from error
        except (HTTPError, OSError) as error:
            raise Unreachable(f"kubernetes {self.host}: {what}: no answer ({_line(str(error))}).") from error

    def _translated(self, what: str, error: Any) -> PreflowError:
        status, message = int(error.status or 0), _message(error)
        where = f"kubernetes {self.host}, namespace {self.namespace}: {what}"
        if status == 404:
            return _Missing(f"{where}: {message}")
        if status == 409:
            return Exists(f"{where}: {message}")
        if status == 410:
            return Gone(f"{where}: {message}")
        if status == 401:
            return Denied(f"{where}: not logged in ({message}). Renew the credentials of your kubeconfig.")
        if status == 403 and "being terminated" in message:
            return Terminating(f"{where}: {message}.")
        if status == 403 and "exceeded quota" not in message:
            return Denied(
                f"{where}: not allowed ({message}). Give this user the Role preflow-submitter of k8s/base, or ask an "
                "administrator."
            )
        if status in (400, 403, 405, 413, 415, 422):
            return Refused(f"{where}: the server refuses it ({message}). Change k8s/job.yaml or the profile.")
        return Unreachable(f"{where}: the server answers {status} ({message}).")


class _Missing(PreflowError):
    """404."""


def _in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ


def _message(error: Any) -> str:
    body = error.body.decode("utf-8", errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        return _line(str(json.loads(body)["message"]))
    except (ValueError, KeyError, TypeError):
        return _line(body or str(error.reason))


def _line(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return f"{text[:397]}..." if len(text) > 400 else text


def _lines(response: Any) -> Iterator[str]:
    """Lines of a streamed answer as they come. Raises Unreachable when the connection breaks."""
    from urllib3.exceptions import HTTPError

    rest = b""
    try:
        while chunk := response.read1():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode("utf-8", errors="replace") for line in lines if line)
        if rest:
            yield rest.decode("utf-8", errors="replace")
    except (HTTPError, OSError) as error:
        raise Unreachable(f"kubernetes: the connection broke ({_line(str(error))}).") from error
    finally:
        response.close()
