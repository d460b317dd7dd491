"""Answers every request with a greeting."""

import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def greet(name: str = "world") -> dict[str, str]:
    return {"greeting": f"{os.environ['GREETING']}, {name}"}
