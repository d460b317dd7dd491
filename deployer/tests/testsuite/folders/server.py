"""A web service of Python's standard library, for tests."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/crash":
            print("crashing", flush=True)
            os._exit(3)
        answers = {
            "/": lambda: f"{os.environ['GREETING']}, {Path('name.txt').read_text()}",
            "/health": lambda: "well",
            "/pid": lambda: str(os.getpid()),
            "/counted": lambda: Path("counted.txt").read_text(),
        }
        answer = answers.get(self.path)
        body = (answer() if answer else "").encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


print("serving", Path("name.txt").read_text(), flush=True)
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
