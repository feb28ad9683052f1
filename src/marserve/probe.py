"""``python3 -I -m marserve.probe started|alive|ready|web``: how a container is, for an orchestrator that asks every few
seconds. So it imports next to nothing, and TorchServe's supervisor is not asked: it writes down how it is.

``started``: everything worked once. ``alive``: the supervisor is at work; whatever else ends, it starts again.
``ready``: everything works now. ``web``: the web service here is ready, for what cannot ask it over HTTP.
Exit status 0: yes; 1: no, with the reason; 2: wrong arguments.
"""

import fcntl
import os
import sys
import time

#: In the run directory: seconds of the monotonic clock, which all containers of a machine share, whether everything has
#: worked, and whether it does now. The supervisor holds a lock on it as long as it lives.
HEARTBEAT = "heartbeat"
#: Seconds between two beats, and after which the supervisor hangs where there was none.
BEAT_S = 1.0
SILENT_S = 15.0
QUESTIONS = ("started", "alive", "ready")
WEB = "web"
#: Seconds that the web service has to answer, and where: listening on ``::``, it does not on IPv4.
ANSWER_S = 3.0
ADDRESSES = ("127.0.0.1", "::1")


def beat(number: int, *, has_worked: bool, works: bool) -> None:
    """Write to the open file ``number``. A reader sees the old line or the new one: they are short and equally long."""
    os.pwrite(number, b"%020.3f %d %d\n" % (time.monotonic(), has_worked, works), 0)


def reason(file: str, question: str) -> str:
    """Why the answer to one of ``QUESTIONS`` is no; empty where it is yes."""
    try:
        number = os.open(file, os.O_RDONLY)
    except OSError as exc:
        return f"not started: {exc}"
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return "not started: no supervisor is there"
        written = os.read(number, 64).split()
    finally:
        os.close(number)
    if not written:
        return "" if question == "alive" else "starting"
    if time.monotonic() - float(written[0]) > SILENT_S:
        return f"the supervisor has done nothing for {SILENT_S:g} s"
    if question == "started" and written[1] != b"1":
        return "starting"
    if question == "ready" and written[2] != b"1":
        return "something is being restarted: see the log"
    return ""


def web_reason(port: str, *, tls: bool) -> str:
    """Why the web service on ``port`` of this machine is not ready; empty where it is."""
    import http.client  # only here: it takes longer to load than all the rest

    context = None
    if tls:
        import ssl

        # To oneself, whatever name the certificate is for.
        context = ssl._create_unverified_context()  # noqa: S323
    refused = ""
    for address in ADDRESSES:
        connection = (
            http.client.HTTPConnection(address, int(port), timeout=ANSWER_S)
            if context is None
            else http.client.HTTPSConnection(address, int(port), timeout=ANSWER_S, context=context)
        )
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return "" if answer.status == 200 else f"{answer.status} {answer.read().decode()}"
        except ConnectionRefusedError as exc:
            refused = refused or f"no answer: {exc}"
        except (OSError, http.client.HTTPException) as exc:
            return refused or f"no answer: {exc}"
        finally:
            connection.close()
    return refused


def main(arguments: list[str]) -> int:
    """Answers the exit status."""
    if len(arguments) != 1 or arguments[0] not in (*QUESTIONS, WEB):
        print(f"usage: python3 -I -m marserve.probe {'|'.join((*QUESTIONS, WEB))}", file=sys.stderr)
        return 2
    home, port = (os.environ.get(f"MARSERVE_{name}", "") for name in ("HOME", "WEB_PORT"))
    if not port.isdecimal():  # as Kubernetes sets it where a Service is called marserve-web: variables.py
        port = "5000"
    if arguments == [WEB]:
        why = web_reason(port, tls=bool(os.environ.get("MARSERVE_TLS_CERTIFICATE")))
    else:
        file = os.path.join(home or ".", ".run", port, HEARTBEAT)  # noqa: PTH118 - pathlib is slow
        why = reason(file, arguments[0])
    if why:
        print(why)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
