"""The site in the booted machine, as a visitor of its network sees it."""

from __future__ import annotations

import http.cookiejar
import json
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from server_machine import Machine, WrongError, must

NAME: Final = "tv.test"


class Site:
    """The site as a visitor of the container's network sees it: by HTTPS, through nginx."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.key = ""
        self.cookies: dict[str, str] = {}

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers. Asked by a process in the container's network."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent["X-API-Key"] = self.key
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        entered = ("nsenter", f"--target={self.machine.leader}", "--net")
        requests = {"method": method, "path": path, "headers": sent, "size": len(body or b"")}
        try:
            done = subprocess.run(
                (*entered, sys.executable, __file__, json.dumps(requests)),
                input=body or b"", capture_output=True, timeout=120, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return 0, str(late).encode(), {}
        if done.returncode:
            return 0, done.stderr, {}
        head, _, rest = done.stdout.partition(b"\n")
        reported = json.loads(head)
        for name, value in reported["cookies"].items():
            self.cookies[name] = value
        return reported["status"], rest, reported["headers"]

    def api(self, method: str, path: str, body: object = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        status, output, _ = self.request(
            method, f"/api/v1/{path}", sent, Content_Type="application/json"
        )
        if not 200 <= status < 300:
            raise WrongError(f"{method} /api/v1/{path} answers {status}: {output[:600]!r}")
        return json.loads(output) if output else None

    def health(self) -> dict[str, Any]:
        status, output, _ = self.request("GET", "/health")
        return dict(json.loads(output)) if status in {200, 503} else {}

    def state(self) -> str:
        return next((str(c["state"]) for c in self.health().get("channels", ())), "")

    def login(self, password: str) -> None:
        _, page, _ = self.request("GET", "/admin/login/")
        result = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)
        must(result, "the login page is there")
        form = {"username": "operator", "password": password, "next": "/admin/"}
        form["csrfmiddlewaretoken"] = result[1].decode() if result else ""
        status, _, _ = self.request(
            "POST", "/admin/login/", urllib.parse.urlencode(form).encode(),
            Content_Type="application/x-www-form-urlencoded",
            Referer=f"https://{NAME}/admin/login/",
        )  # fmt: skip
        must(status == 302 and "sessionid" in self.cookies, "the printed password logs in")


def request_from_here(requests: dict[str, Any]) -> None:
    """Ask one thing, and print the answer: its head as a line of JSON, then its body."""
    body = sys.stdin.buffer.read() if requests["size"] else None
    context = ssl.create_default_context()
    # Made for this test alone.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        Stay,
        urllib.request.HTTPCookieProcessor(jar),
    )
    request = urllib.request.Request(
        f"https://127.0.0.1{requests['path']}", body, {"Host": NAME, **requests["headers"]},
        method=requests["method"],
    )  # fmt: skip
    try:
        answer = opener.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    cookies = {}
    for line in answer.headers.get_all("Set-Cookie") or ():
        name, _, value = line.partition(";")[0].partition("=")
        cookies[name] = value
    head = {"status": answer.status, "headers": dict(answer.headers), "cookies": cookies}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + answer.read())


if __name__ == "__main__":
    request_from_here(json.loads(sys.argv[1]))
